"""Pictures of parts: a photo with its parts, the photos of a training, and label files.

Images are uint8[H,W,3] RGB. Labels are integers [H,W], 0 for the background and 1..K for the parts.
"""
from __future__ import annotations

import io
from typing import Mapping, Optional, Tuple

import numpy as np
from PIL import Image

from scops_tf import files, images as images_lib
from scops_tf.pictures import drawing, legend, sheets
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
                     names: Optional[Mapping[int, str]] = None,
                     lookup: Optional[np.ndarray] = None, colors: Optional[np.ndarray] = None,
                     cell_size: Tuple[int, int] = (160, 160)) -> np.ndarray:
    """Inputs and outputs of a training: a row of pictures per photo, and a legend of the parts.

    Labels and captions are those of the parts that are shown, after merges and drops. Responses and
    centres are those of the model's own parts.

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
      names: Names of the parts that are shown, by label; None for 'part 1' and so on.
      lookup: Integers [K+1]. Label that is shown for each label; None for the same.
      colors: uint8[K+1,3]. Colours of the labels; None for `palette`.
      cell_size: (height, width) that each picture is fitted into.

    Returns:
      uint8[h,w,3].
    """
    def item(values: Optional[np.ndarray], index: int) -> Optional[np.ndarray]:
        return None if values is None else values[index]

    num_parts = part_responses.shape[-1]
    colors = palette(num_parts) if colors is None else colors
    lookup = np.arange(num_parts + 1) if lookup is None else np.asarray(lookup)
    names = names or {number: f'part {number}' for number in range(1, num_parts + 1)}
    labels = lookup[labels]
    view_labels = None if view_labels is None else lookup[view_labels]
    # A dropped part keeps a colour of its own, since its responses are shown.
    own = np.where(lookup[:, np.newaxis] > 0, colors[lookup], palette(num_parts))
    rows = []
    for index, image in enumerate(images):
        columns = {'input': image}
        if saliency_maps is not None:
            columns['saliency'] = drawing.heatmap(saliency_maps[index])
        columns['parts'] = parts_picture(image, labels[index], item(centers, index),
                                         item(presence, index), cell_size=cell_size,
                                         colors=own)
        if views is not None:
            columns['transformed view'] = views[index]
            if view_labels is not None:
                columns['parts of the view'] = parts_picture(
                    views[index], view_labels[index], item(view_centers, index),
                    item(presence, index), cell_size=cell_size, colors=own)
        maps = drawing.response_heatmaps(part_responses[index], colors=own)
        captions = [*columns, *(_caption(part, lookup, names) for part in range(1, num_parts + 1))]
        rows.append([*columns.values(), *maps])
    sheet = sheets.sheet(rows, column_captions=captions, cell_size=cell_size)
    strip = legend.legend([(colors[number], name if name == f'part {number}'
                            else f'{number} {name}') for number, name in names.items()],
                          sheet.shape[1])
    return np.concatenate([sheet, strip])


def _caption(part: int, lookup: np.ndarray, names: Mapping[int, str]) -> str:
    """Caption of the responses of one of the model's parts."""
    if not lookup[part]:
        return f'part {part}, dropped'
    name = names[int(lookup[part])]
    return name if name == f'part {part}' else f'{part} {name}'
