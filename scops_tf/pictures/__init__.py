"""What people look at: colours, sheets, pictures of parts, TensorBoard, pages."""
