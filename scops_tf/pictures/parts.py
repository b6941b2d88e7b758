"""Pictures of parts: a photo with its parts, the photos of a training, and label files.

Images are uint8[H,W,3] RGB. Labels are integers [H,W], 0 for the background and 1..K for the parts.
"""
from __future__ import annotations

import io
from typing import Optional, Tuple

import numpy as np
from PIL import Image

from scops_tf import files, images as images_lib
from scops_tf.pictures import drawing, sheets
from scops_tf.pictures.palette import palette


def write_label_png(path: str, labels: np.ndarray, colors: Optional[np.ndarray] = None) -> None:
    """Writes labels atomically as a palette PNG; its pixel values are the labels.

    Args:
      path: Path of the file, which is replaced if it exists; its folder is made.
      labels: Integers [H,W] in [0, 255].
      colors: uint8[N,3]. Palette with a colour for every label; None for the `palette` of as many
        parts as the largest label.

    Raises:
      ValueError: If `labels` are not integers [H,W] in [0, 255], or a label has no colour.
      OSError: If the file cannot be written.
    """
    labels = drawing.check_labels(labels)
    largest = int(labels.max(initial=0))
    colors = palette(largest) if colors is None else np.asarray(colors, np.uint8)
    if largest >= len(colors):
        raise ValueError(
            f'`labels` must be less than the number of `colors`, {len(colors)}; got {largest}.')
    picture = Image.fromarray(labels)
    picture.putpalette(colors.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format='PNG')
    files.write(path, buffer.getvalue())


def parts_picture(image: np.ndarray, labels: np.ndarray, centers: Optional[np.ndarray] = None,
                  presence: Optional[np.ndarray] = None, *,
                  cell_size: Optional[Tuple[int, int]] = None,
                  colors: Optional[np.ndarray] = None) -> np.ndarray:
    """Photo with its parts and part centres, drawn at its final size so that lines stay sharp.

    Args:
      image: uint8[H,W,3]. RGB.
      labels: Integers [H,W].
      centers: f[K,2]. (x, y) in pixels of `image`, or None for no dots.
      presence: Presence of the parts; see `drawing.draw_centers`.
      cell_size: (height, width) to fit the picture into; None for the image's own size.
      colors: uint8[K+1,3]. Colours of the labels; None for `palette`.

    Returns:
      uint8[h,w,3].
    """
    shown, factor = sheets.fit(drawing.check_image(image), cell_size or image.shape[:2])
    labels = Image.fromarray(drawing.check_labels(labels))
    labels = labels.resize(shown.shape[1::-1], Image.Resampling.NEAREST)
    shown = drawing.overlay(shown, np.array(labels), colors=colors)
    if centers is None:
        return shown
    centers = images_lib.scale_points(np.asarray(centers, np.float64), factor)
    return drawing.draw_centers(shown, centers, presence, colors=colors)


def training_picture(images: np.ndarray, part_responses: np.ndarray, labels: np.ndarray, *,
                     centers: Optional[np.ndarray] = None, presence: Optional[np.ndarray] = None,
                     saliency_maps: Optional[np.ndarray] = None,
                     views: Optional[np.ndarray] = None, view_labels: Optional[np.ndarray] = None,
                     view_centers: Optional[np.ndarray] = None,
                     cell_size: Tuple[int, int] = (160, 160)) -> np.ndarray:
    """Inputs and outputs of a training: a row of pictures per photo.

    Args:
      images: uint8[B,H,W,3]. Photos, RGB; B is at least 1.
      part_responses: f[B,h,w,K] in [0, 1]. R, background removed.
      labels: Integers [B,H,W].
      centers: f[B,K,2]. (x, y) in pixels of `images`, or None.
      presence: [B,K]. Presence of the parts, see `drawing.draw_centers`; or None.
      saliency_maps: f[B,h,w] in [0, 1], or None.
      views: uint8[B,H,W,3]. Transformed photos, or None.
      view_labels: Integers [B,H,W]. Labels of `views`, or None.
      view_centers: f[B,K,2]. (x, y) in pixels of `views`, or None.
      cell_size: (height, width) that each picture is fitted into.

    Returns:
      uint8[h,w,3].
    """
    def item(values: Optional[np.ndarray], index: int) -> Optional[np.ndarray]:
        return None if values is None else values[index]

    rows = []
    for index, image in enumerate(images):
        columns = {'input': image}
        if saliency_maps is not None:
            columns['saliency'] = drawing.heatmap(saliency_maps[index])
        columns['parts'] = parts_picture(image, labels[index], item(centers, index),
                                         item(presence, index), cell_size=cell_size)
        if views is not None:
            columns['transformed view'] = views[index]
            if view_labels is not None:
                columns['parts of the view'] = parts_picture(
                    views[index], view_labels[index], item(view_centers, index),
                    item(presence, index), cell_size=cell_size)
        for part, picture in enumerate(drawing.response_heatmaps(part_responses[index]), start=1):
            columns[f'part {part}'] = picture
        rows.append(list(columns.values()))
    return sheets.sheet(rows, column_captions=list(columns), cell_size=cell_size)
