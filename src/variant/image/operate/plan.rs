use image::metadata::Orientation;

use super::super::operations::{Crop, Fit, Gravity, Length, Operations};
use super::orientation::Turn;

/// What happens to the pixels of a picture, without having looked at one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Plan {
    /// The part of the stored picture that is taken, in its full pixels.
    pub(in super::super) part: Part,
    /// What that part is resized to, still lying as stored.
    pub(in super::super) size: (u32, u32),
    /// How the resized part is turned.
    pub(in super::super) turn: Turn,
    /// Where the turned part lies on a larger canvas, if it does.
    pub(in super::super) canvas: Option<Canvas>,
}

/// A rectangle between pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Part {
    pub(in super::super) left: f64,
    pub(in super::super) top: f64,
    pub(in super::super) width: f64,
    pub(in super::super) height: f64,
}

/// A larger picture around a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Canvas {
    pub(in super::super) width: u32,
    pub(in super::super) height: u32,
    /// The place of the inner picture's left edge.
    pub(in super::super) left: u32,
    /// The place of the inner picture's top edge.
    pub(in super::super) top: u32,
}

/// A place in a picture: shares of its width from the left and of its height from the top, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Focus {
    pub(in super::super) x: f64,
    pub(in super::super) y: f64,
}

impl Focus {
    pub(in super::super) const MIDDLE: Self = Self { x: 0.5, y: 0.5 };

    /// The place that was asked for; the middle where the pixels have to be asked.
    pub(in super::super) fn asked(gravity: Gravity) -> Self {
        match gravity {
            Gravity::Point(x, y) => Self {
                x: (f64::from(x) / 1000.0).min(1.0),
                y: (f64::from(y) / 1000.0).min(1.0),
            },
            Gravity::Smart => Self::MIDDLE,
        }
    }
}

impl Plan {
    /// The plan for a picture of that stored size. `focus` is what stays as near to the middle as the
    /// edges allow where `cover` cuts, and how the room is shared out where `pad` leaves some.
    ///
    /// Without `upscale` no pixel is made up: `contain` gives the picture as it is, `cover` the largest
    /// part of the box's shape (as sharp with `withoutEnlargement`), `fill` stretches no side beyond its own
    /// pixels, and `pad` gives the whole box with the picture unenlarged in it, so that what was laid out
    /// for the box stays right.
    pub(in super::super) fn new(
        stored: (u32, u32),
        orientation: Orientation,
        operations: &Operations,
        focus: Focus,
    ) -> Self {
        let upright = Turn::of(orientation);
        let asked = Turn::asked(operations.rotate, operations.flip);
        let (left, top, cut) = cut(upright.size(stored), operations.crop);
        let seen = asked.size(cut);
        let fitted = fitted(seen, operations, focus);

        // Back from what is seen to what is stored.
        let in_cut = asked.part(fitted.part, cut);
        let in_upright = Part {
            left: in_cut.left + f64::from(left),
            top: in_cut.top + f64::from(top),
            ..in_cut
        };
        let turn = upright.then(asked);
        Self {
            part: upright.part(in_upright, stored),
            size: turn.size(fitted.size),
            turn,
            canvas: fitted.canvas,
        }
    }

    /// Width and height of the result.
    pub(in super::super) fn result(&self) -> (u32, u32) {
        match self.canvas {
            Some(canvas) => (canvas.width, canvas.height),
            None => self.turn.size(self.size),
        }
    }

    /// Pixels of the result.
    pub(in super::super) fn pixels(&self) -> u64 {
        let (width, height) = self.result();
        u64::from(width) * u64::from(height)
    }

    /// How far a decoder may reduce the picture, so that a fifth more than the target is left both ways. Twice
    /// the target would be nearer to an exact resize, but decodes four times the pixels; at equal SSIMULACRA2
    /// against the exact one the files have the same bytes (`benches/sharp/RESULTS.md`).
    pub(in super::super) fn reduction(&self) -> u8 {
        // Half a pixel may have been rounded up.
        let spare = |from: f64, to: u32| from / (1.2 * (f64::from(to) - 0.5).max(1.0));
        let spare = spare(self.part.width, self.size.0).min(spare(self.part.height, self.size.1));
        [8, 4, 2]
            .into_iter()
            .find(|reduction| f64::from(*reduction) <= spare)
            .unwrap_or(1)
    }
}

/// The pixels of an upright picture that a crop leaves: from the left, from the top, and its size. Never empty:
/// a crop that lies outside takes the pixels nearest to it.
fn cut((width, height): (u32, u32), crop: Option<Crop>) -> (u32, u32, (u32, u32)) {
    let Some(crop) = crop else {
        return (0, 0, (width, height));
    };
    let (left, width) = span(crop.left, crop.width, width);
    let (top, height) = span(crop.top, crop.height, height);
    (left, top, (width, height))
}

fn span(from: Length, length: Length, side: u32) -> (u32, u32) {
    let from = pixels(from, side, 0).min(side.saturating_sub(1));
    let length = pixels(length, side, from).clamp(1, side.saturating_sub(from).max(1));
    (from, length)
}

fn pixels(length: Length, side: u32, from: u32) -> u32 {
    match length {
        Length::Pixels(pixels) => pixels,
        Length::Share(share) => rounded(u64::from(side) * u64::from(share), 10_000),
        Length::ToEndLess(less) => side.saturating_sub(less).saturating_sub(from),
    }
}

/// A picture in its box, as it is seen.
struct Fitted {
    part: Part,
    size: (u32, u32),
    canvas: Option<Canvas>,
}

fn fitted(seen: (u32, u32), operations: &Operations, focus: Focus) -> Fitted {
    let upscale = operations.upscale;
    let whole = |size| Fitted {
        part: Part::whole(seen),
        size,
        canvas: None,
    };
    let (Some(width), Some(height)) = (operations.width, operations.height) else {
        // A box that is open on one side is filled by any fit in the same way.
        return whole(contained(
            seen,
            operations.width,
            operations.height,
            upscale,
        ));
    };
    let bounds = (width.max(1), height.max(1));
    match operations.fit {
        Fit::Contain => whole(contained(seen, Some(bounds.0), Some(bounds.1), upscale)),
        Fit::Pad => {
            let size = contained(seen, Some(bounds.0), Some(bounds.1), upscale);
            let room = |bound: u32, side: u32, share: f64| {
                round(f64::from(bound.saturating_sub(side)) * share)
            };
            Fitted {
                canvas: (size != bounds).then(|| Canvas {
                    width: bounds.0,
                    height: bounds.1,
                    left: room(bounds.0, size.0, focus.x),
                    top: room(bounds.1, size.1, focus.y),
                }),
                ..whole(size)
            }
        }
        Fit::Fill if upscale => whole(bounds),
        Fit::Fill => whole((bounds.0.min(seen.0), bounds.1.min(seen.1))),
        Fit::Cover => covered(seen, bounds, upscale, focus),
    }
}

fn contained(
    (width, height): (u32, u32),
    wanted_width: Option<u32>,
    wanted_height: Option<u32>,
    upscale: bool,
) -> (u32, u32) {
    let bound = |wanted: Option<u32>, side: u32| match wanted {
        None => None,
        Some(wanted) if upscale => Some(wanted.max(1)),
        Some(wanted) => Some(wanted.clamp(1, side)),
    };
    let by_width = |to: u32| (to, scaled(height, to, width));
    let by_height = |to: u32| (scaled(width, to, height), to);
    match (bound(wanted_width, width), bound(wanted_height, height)) {
        (None, None) => (width, height),
        (Some(to), None) => by_width(to),
        (None, Some(to)) => by_height(to),
        // The side that shrinks more rules: to_width / width against to_height / height, without division.
        (Some(to_width), Some(to_height)) => {
            if product(to_width, height) <= product(to_height, width) {
                by_width(to_width)
            } else {
                by_height(to_height)
            }
        }
    }
}

fn covered(
    (width, height): (u32, u32),
    (box_width, box_height): (u32, u32),
    upscale: bool,
    focus: Focus,
) -> Fitted {
    let aspect = f64::from(box_width) / f64::from(box_height);
    let (full_width, full_height) = (f64::from(width), f64::from(height));
    let source_is_wider = product(width, box_height) >= product(box_width, height);
    let (part_width, part_height, size) = if source_is_wider {
        let to = box_height.min(height);
        let size = (scaled(box_width, to, box_height), to);
        ((full_height * aspect).min(full_width), full_height, size)
    } else {
        let to = box_width.min(width);
        let size = (to, scaled(box_height, to, box_width));
        (full_width, (full_width / aspect).min(full_height), size)
    };
    let start = |full: f64, part: f64, share: f64| {
        let furthest = (full - part).max(0.0);
        (full * share - part / 2.0).clamp(0.0, furthest)
    };
    Fitted {
        part: Part {
            left: start(full_width, part_width, focus.x),
            top: start(full_height, part_height, focus.y),
            width: part_width,
            height: part_height,
        },
        size: if upscale {
            (box_width, box_height)
        } else {
            size
        },
        canvas: None,
    }
}

/// `side * part / whole`, to the nearest pixel and at least one.
fn scaled(side: u32, part: u32, whole: u32) -> u32 {
    rounded(product(side, part), u64::from(whole)).max(1)
}

fn rounded(number: u64, by: u64) -> u32 {
    let by = by.max(1);
    u32::try_from(number.saturating_add(by / 2) / by).unwrap_or(u32::MAX)
}

fn product(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
pub(super) fn round(pixels: f64) -> u32 {
    pixels.round() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::operations::{Flip, Quarters};
    use super::*;

    const STORED: (u32, u32) = (400, 200);

    fn boxed(width: u32, height: u32, fit: Fit) -> Operations {
        let some = |side| (side > 0).then_some(side);
        Operations {
            width: some(width),
            height: some(height),
            fit,
            ..Operations::default()
        }
    }

    fn enlarged(width: u32, height: u32, fit: Fit) -> Operations {
        Operations {
            upscale: true,
            ..boxed(width, height, fit)
        }
    }

    fn plan(stored: (u32, u32), exif: u8, operations: &Operations) -> Plan {
        let orientation = Orientation::from_exif(exif).unwrap();
        Plan::new(
            stored,
            orientation,
            operations,
            Focus::asked(operations.gravity),
        )
    }

    #[track_caller]
    fn check(
        stored: (u32, u32),
        operations: &Operations,
        result: (u32, u32),
        part: (f64, f64, f64, f64),
    ) {
        let found = plan(stored, 1, operations);
        assert_eq!(found.result(), result, "{operations:?}");
        check_part(&found, part);
    }

    #[track_caller]
    fn check_part(found: &Plan, (left, top, width, height): (f64, f64, f64, f64)) {
        let part = found.part;
        let pairs = [
            (part.left, left),
            (part.top, top),
            (part.width, width),
            (part.height, height),
        ];
        assert!(
            pairs.iter().all(|(a, b)| (a - b).abs() < 0.01),
            "{part:?}, expected {:?}",
            (left, top, width, height)
        );
    }

    const ALL: (f64, f64, f64, f64) = (0.0, 0.0, 400.0, 200.0);

    #[test]
    fn contain_keeps_the_whole_picture_inside_the_box() {
        for (wanted, size) in [
            ((0, 0), (400, 200)),
            ((200, 0), (200, 100)),
            ((0, 50), (100, 50)),
            ((200, 200), (200, 100)),
            ((300, 50), (100, 50)),
            ((401, 0), (400, 200)),
            ((1000, 1000), (400, 200)),
            ((1000, 100), (200, 100)),
            ((1, 0), (1, 1)),
            ((133, 0), (133, 67)),
        ] {
            check(STORED, &boxed(wanted.0, wanted.1, Fit::Contain), size, ALL);
        }
        let whole = (0.0, 0.0, 4000.0, 1.0);
        check((4000, 1), &boxed(10, 0, Fit::Contain), (10, 1), whole);
    }

    #[test]
    fn an_open_box_is_filled_in_the_same_way_by_any_fit() {
        for fit in [Fit::Contain, Fit::Cover, Fit::Pad, Fit::Fill] {
            check(STORED, &boxed(100, 0, fit), (100, 50), ALL);
            check(STORED, &boxed(0, 500, fit), (400, 200), ALL);
            check(STORED, &enlarged(0, 500, fit), (1000, 500), ALL);
        }
    }

    #[test]
    fn cover_fills_the_box_and_cuts_evenly() {
        for (wanted, size, part) in [
            ((100, 100), (100, 100), (100.0, 0.0, 200.0, 200.0)),
            ((200, 50), (200, 50), (0.0, 50.0, 400.0, 100.0)),
            ((400, 200), (400, 200), ALL),
            ((800, 800), (200, 200), (100.0, 0.0, 200.0, 200.0)),
            ((800, 200), (400, 100), (0.0, 50.0, 400.0, 100.0)),
            ((100, 1), (100, 1), (0.0, 98.0, 400.0, 4.0)),
        ] {
            check(STORED, &boxed(wanted.0, wanted.1, Fit::Cover), size, part);
        }
        let large = enlarged(800, 800, Fit::Cover);
        check(STORED, &large, (800, 800), (100.0, 0.0, 200.0, 200.0));
    }

    #[test]
    fn gravity_keeps_a_place_in_sight_and_stops_at_the_edges() {
        for (x, left) in [
            (0, 0.0),
            (200, 0.0),
            (300, 20.0),
            (500, 100.0),
            (900, 200.0),
        ] {
            let operations = Operations {
                gravity: Gravity::Point(x, 999),
                ..boxed(100, 100, Fit::Cover)
            };
            check(STORED, &operations, (100, 100), (left, 0.0, 200.0, 200.0));
        }
    }

    #[test]
    fn pad_gives_the_box_and_places_the_picture_in_it() {
        let inner = |operations: &Operations| {
            let found = plan(STORED, 1, operations);
            (
                found.size,
                found.canvas.map(|c| (c.width, c.height, c.left, c.top)),
            )
        };
        let even = boxed(100, 100, Fit::Pad);
        assert_eq!(inner(&even), ((100, 50), Some((100, 100, 0, 25))));
        let low = Operations {
            gravity: Gravity::Point(0, 1000),
            ..even
        };
        assert_eq!(inner(&low), ((100, 50), Some((100, 100, 0, 50))));
        let large = boxed(800, 300, Fit::Pad);
        assert_eq!(inner(&large), (STORED, Some((800, 300, 200, 50))));
        let large = enlarged(800, 500, Fit::Pad);
        assert_eq!(inner(&large), ((800, 400), Some((800, 500, 0, 50))));
        assert_eq!(inner(&boxed(200, 100, Fit::Pad)), ((200, 100), None));
    }

    #[test]
    fn fill_stretches_but_not_beyond_the_pixels_there_are() {
        check(STORED, &boxed(100, 100, Fit::Fill), (100, 100), ALL);
        check(STORED, &boxed(800, 100, Fit::Fill), (400, 100), ALL);
        check(STORED, &enlarged(800, 100, Fit::Fill), (800, 100), ALL);
    }

    fn crop(left: Length, top: Length, width: Length, height: Length) -> Operations {
        Operations {
            crop: Some(Crop {
                left,
                top,
                width,
                height,
            }),
            ..Operations::default()
        }
    }

    #[test]
    fn a_crop_is_clamped_to_the_picture_and_never_empty() {
        use Length::{Pixels, Share, ToEndLess};
        for (operations, part) in [
            (
                crop(Pixels(10), Pixels(20), Pixels(30), Pixels(40)),
                (10.0, 20.0, 30.0, 40.0),
            ),
            (
                crop(Share(2500), Share(5000), Share(5000), Share(10_000)),
                (100.0, 100.0, 200.0, 100.0),
            ),
            (
                crop(Pixels(10), Pixels(20), ToEndLess(30), ToEndLess(40)),
                (10.0, 20.0, 360.0, 140.0),
            ),
            (
                crop(Pixels(9000), Pixels(0), Pixels(0), ToEndLess(900)),
                (399.0, 0.0, 1.0, 1.0),
            ),
            (
                crop(ToEndLess(50), Pixels(0), Pixels(900), Pixels(900)),
                (350.0, 0.0, 50.0, 200.0),
            ),
            (
                crop(
                    Pixels(u32::MAX),
                    Share(u16::MAX),
                    Share(u16::MAX),
                    ToEndLess(u32::MAX),
                ),
                (399.0, 199.0, 1.0, 1.0),
            ),
        ] {
            let size = (round(part.2), round(part.3));
            check(STORED, &operations, size, part);
        }
    }

    #[test]
    fn sizes_are_those_of_the_turned_picture() {
        let operations = Operations {
            rotate: Quarters::One,
            ..boxed(100, 0, Fit::Contain)
        };
        check(STORED, &operations, (100, 200), ALL);
        // Stored lying, seen standing, turned to lie again.
        let found = plan(STORED, 6, &operations);
        assert_eq!((found.result(), found.size), ((100, 50), (100, 50)));
        let found = plan(STORED, 6, &boxed(100, 0, Fit::Contain));
        assert_eq!((found.result(), found.size), ((100, 200), (200, 100)));
    }

    #[test]
    fn a_part_is_found_through_turns() {
        // The left quarter of what is seen standing (orientation 6) is the lower quarter of what is stored.
        let left_quarter = crop(
            Length::Pixels(0),
            Length::Pixels(0),
            Length::Share(2500),
            Length::Share(10_000),
        );
        let found = plan(STORED, 6, &left_quarter);
        check_part(&found, (0.0, 150.0, 400.0, 50.0));
        assert_eq!(found.result(), (50, 400));
        // Flipped after the crop: still the same pixels.
        let flipped = Operations {
            flip: Flip::Horizontal,
            ..left_quarter
        };
        check_part(&plan(STORED, 6, &flipped), (0.0, 150.0, 400.0, 50.0));
        // The left of the flipped picture is the right of the stored one.
        let covered = Operations {
            gravity: Gravity::Point(0, 0),
            flip: Flip::Horizontal,
            ..boxed(100, 100, Fit::Cover)
        };
        check_part(&plan(STORED, 1, &covered), (200.0, 0.0, 200.0, 200.0));
    }

    #[test]
    fn decoders_leave_a_fifth_more_than_the_target() {
        let reduction = |operations: &Operations| plan((4000, 3000), 1, operations).reduction();
        assert_eq!(reduction(&boxed(417, 0, Fit::Contain)), 8);
        assert_eq!(reduction(&boxed(418, 0, Fit::Contain)), 4);
        assert_eq!(reduction(&boxed(1667, 0, Fit::Contain)), 2);
        assert_eq!(reduction(&boxed(1668, 0, Fit::Contain)), 1);
        assert_eq!(reduction(&Operations::default()), 1);
        assert_eq!(reduction(&boxed(10, 3000, Fit::Fill)), 1);
        // Of a cut-out part, not of the whole.
        let operations = Operations {
            width: Some(250),
            ..crop(
                Length::Share(0),
                Length::Share(0),
                Length::Share(2500),
                Length::Share(2500),
            )
        };
        assert_eq!(reduction(&operations), 2);
    }

    fn lengths() -> impl Strategy<Value = Length> {
        prop_oneof![
            any::<u32>().prop_map(Length::Pixels),
            (0..500_u32).prop_map(Length::Pixels),
            any::<u16>().prop_map(Length::Share),
            (0..500_u32).prop_map(Length::ToEndLess),
        ]
    }

    proptest! {
        #[test]
        fn plans_stay_inside_the_picture_and_the_box(
            stored in (1..500_u32, 1..500_u32),
            exif in 1..=8_u8,
            lengths in (lengths(), lengths(), lengths(), lengths()),
            is_cropped: bool,
            (width, height) in (0..600_u32, 0..600_u32),
            fit in prop::sample::select(vec![Fit::Contain, Fit::Cover, Fit::Pad, Fit::Fill]),
            rotate in prop::sample::select(vec![Quarters::None, Quarters::One, Quarters::Two, Quarters::Three]),
            flip in prop::sample::select(vec![Flip::None, Flip::Horizontal, Flip::Vertical, Flip::Both]),
            gravity in (0..=1000_u16, 0..=1000_u16),
            upscale: bool,
        ) {
            let operations = Operations {
                crop: is_cropped
                    .then_some(crop(lengths.0, lengths.1, lengths.2, lengths.3).crop)
                    .flatten(),
                rotate,
                flip,
                gravity: Gravity::Point(gravity.0, gravity.1),
                upscale,
                ..boxed(width, height, fit)
            };
            let found = plan(stored, exif, &operations);
            let part = found.part;
            prop_assert!(part.left > -1e-6 && part.top > -1e-6);
            prop_assert!(part.width > 0.0 && part.height > 0.0);
            prop_assert!(part.left + part.width < f64::from(stored.0) + 1e-6);
            prop_assert!(part.top + part.height < f64::from(stored.1) + 1e-6);
            prop_assert!(found.size.0 >= 1 && found.size.1 >= 1);
            let result = found.result();
            prop_assert!(width == 0 || result.0 <= width);
            prop_assert!(height == 0 || result.1 <= height);
            if let Some(canvas) = found.canvas {
                let (inner_width, inner_height) = found.turn.size(found.size);
                prop_assert!(canvas.left + inner_width <= canvas.width);
                prop_assert!(canvas.top + inner_height <= canvas.height);
            }
            if !upscale {
                prop_assert!(f64::from(found.size.0) < part.width + 1.0);
                prop_assert!(f64::from(found.size.1) < part.height + 1.0);
            }
        }
    }
}
