"""Laws of the gallery of parts."""
import numpy as np
import pytest

from scops_tf.pages import gallery

HEIGHT, WIDTH = 48, 80


def _blob(y, x, height=HEIGHT, width=WIDTH, peak=1.0):
    ys, xs = np.mgrid[:height, :width]
    return peak * np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 50)


def _gallery(peaks, shown, **options):
    """A gallery of photos whose first part is at (20, 55) with these peaks, the second nowhere."""
    found = gallery.PartGallery(2, crop_size=24, **options)
    for index, (peak, is_shown) in enumerate(zip(peaks, shown)):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[15:26, 50:61] = 40 * (index + 1)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels[15:26, 50:61] = is_shown
        responses = np.stack([_blob(20, 55, peak=peak), np.zeros((HEIGHT, WIDTH))], axis=-1)
        found.add(image, labels, responses[::2, ::4])
    return found.looks()


def test_places_are_where_a_part_responds_most_and_least_each_of_another_photo():
    peaks = [0.3, 0.9, 0.1, 0.6, 0.8, 0.2]
    first, second = _gallery(peaks, [1, 1, 0, 1, 1, 1], num_strongest=2, num_weakest=2)
    assert [crop.photo for crop in first.strongest] == [1, 4]
    # The photo of peak 0.1 does not show the part.
    assert [crop.photo for crop in first.weakest] == [5, 0]
    assert [crop.image[12, 12, 0] for crop in first.strongest] == [80, 200]
    assert all(crop.image.shape == (24, 24, 3) and crop.mask[12, 12] and not crop.mask[0, 0]
               for crop in (*first.strongest, *first.weakest))
    assert first.strongest[0].response == pytest.approx(9 * first.weakest[1].response / 3)
    assert not second.strongest and not second.weakest and second.mean is None


def test_no_photo_is_shown_as_strongest_and_as_weakest():
    looks, _ = _gallery([0.3, 0.9, 0.6], [1, 1, 1], num_strongest=2, num_weakest=4)
    assert [crop.photo for crop in looks.strongest] == [1, 2]
    assert [crop.photo for crop in looks.weakest] == [0]


def test_the_mean_look_is_weighted_by_the_responses():
    looks, _ = _gallery([0.25, 0.75], [1, 1])
    assert looks.mean[12, 12, 0] == pytest.approx(0.25 * 40 + 0.75 * 80, abs=1)
    assert looks.mean[0, 0, 0] == 0


def test_a_place_at_the_photos_corner_stays_inside():
    image = np.full((HEIGHT, WIDTH, 3), 9, np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[36:, 70:] = 1
    part_gallery = gallery.PartGallery(1, crop_size=40)
    part_gallery.add(image, labels, _blob(47, 79)[..., np.newaxis])
    crop, = part_gallery.looks()[0].strongest
    assert (crop.image == 9).all() and crop.mask[-1, -1] and not crop.mask[0, 0]


def test_a_gallery_refuses_what_does_not_fit():
    part_gallery = gallery.PartGallery(2)
    image, labels = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    with pytest.raises(ValueError, match='`part_responses`'):
        part_gallery.add(image, labels, np.zeros((6, 5, 3)))
    with pytest.raises(ValueError, match='`labels`'):
        part_gallery.add(image, labels.T, np.zeros((6, 5, 2)))
    with pytest.raises(ValueError, match='at least one photo'):
        part_gallery.looks()
