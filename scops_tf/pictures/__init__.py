"""Pictures and reports: colours, sheets, pictures of parts, TensorBoard logs, and pages."""
