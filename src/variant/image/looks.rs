use super::raster::{Channels, Raster};

/// Whether a picture was drawn or photographed, and what told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looks {
    pub(super) is_drawn: bool,
    /// For people who wonder.
    pub(super) because: &'static str,
}

/// Blocks that are looked at, at most; evenly spread.
const BLOCKS_MAX: usize = 4096;
const SIDE: usize = 8;
/// Up to 80 × 80 pixels.
const SMALL_BLOCKS: usize = 100;

/// A block whose values lie further apart shows something: an edge, text, leaves.
const RANGE_OF_THINGS: u8 = 24;

/// What the blocks of a picture are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Blocks {
    /// One colour.
    flat: usize,
    /// Little happens, and exactly: a made gradient.
    exact: usize,
    /// Little happens, with grain: a sky, a wall out of focus.
    grainy: usize,
    /// Edges between areas that are exactly even: text, lines, icons.
    graphic: usize,
    /// Something whose every pixel differs.
    texture: usize,
}

impl Looks {
    /// Judges by blocks of 8 × 8 pixels what the picture is made of. Drawings (screenshots, logos, charts) have
    /// hard edges between areas of exactly one colour or exact gradients; a camera leaves grain everywhere,
    /// even where it sees only sky, and even after the picture was made smaller.
    pub(super) fn of(raster: &Raster) -> Self {
        Blocks::of(raster).judged()
    }
}

impl Blocks {
    fn of(raster: &Raster) -> Self {
        match raster.channels {
            Channels::Grey => counted::<1>(raster),
            Channels::Rgb => counted::<3>(raster),
            Channels::Rgba | Channels::Cmyk => counted::<4>(raster),
        }
    }

    fn judged(self) -> Looks {
        let looks = |is_drawn, because| Looks { is_drawn, because };
        let things = self.graphic + self.texture;
        let plain = self.exact + self.grainy;
        if things + plain == 0 {
            return looks(true, "it is flat colour");
        }
        // Few things in a large exact ground are a drawing's, few in a grainy one a photograph's.
        if things * 16 < plain {
            return if self.grainy * 3 > self.exact {
                looks(false, "its smooth areas have grain")
            } else {
                looks(true, "its smooth areas are exact gradients")
            };
        }
        // A dithered photograph has edges between equal pixels too, but nothing flat around them. Icons have no room
        // for flat blocks.
        let is_small = things + plain + self.flat <= SMALL_BLOCKS;
        let has_ground = is_small || self.flat * 5 >= things * 2;
        if !has_ground || self.grainy * 4 > things {
            return looks(false, "its areas have grain");
        }
        if self.graphic * 3 >= self.texture * 2 {
            looks(true, "its edges lie between even areas")
        } else {
            looks(false, "it has texture")
        }
    }
}

fn counted<const N: usize>(raster: &Raster) -> Blocks {
    let mut blocks = Blocks::default();
    let width = usize::try_from(raster.width).unwrap_or(usize::MAX).max(1);
    let (pixels, _) = raster.pixels.as_chunks::<N>();
    let rows: Vec<&[[u8; N]]> = pixels.chunks_exact(width).collect();
    // Pictures smaller than a block, or with a strip left over, are judged by their whole blocks and by one
    // that is cut short.
    let (across, down) = (width.div_ceil(SIDE), rows.len().div_ceil(SIDE));
    let step = (across * down).div_ceil(BLOCKS_MAX).max(1);
    // A step that divides the number of columns would look at the same ones in every row.
    let step = if step > 1 && across.is_multiple_of(step) {
        step + 1
    } else {
        step
    };
    for number in (0..across * down).step_by(step) {
        let (left, top) = (number % across * SIDE, number / across * SIDE);
        let block = rows
            .get(top..(top + SIDE).min(rows.len()))
            .unwrap_or_default();
        let block: Vec<&[[u8; N]]> = block
            .iter()
            .filter_map(|row| row.get(left..(left + SIDE).min(width)))
            .collect();
        blocks.add(&block);
    }
    blocks
}

impl Blocks {
    fn add<const N: usize>(&mut self, block: &[&[[u8; N]]]) {
        let mut pairs = Pairs::default();
        let pixels = block.iter().map(|row| row.len()).sum::<usize>();
        for row in block {
            for pair in row.windows(2) {
                pairs.add(pair.first(), pair.last());
            }
            // Along a gradient, steps are even: the third pixel is where the first two lead.
            for triple in row.windows(3) {
                if let [a, b, c] = triple {
                    pairs.add_run(a, b, c);
                }
            }
        }
        for rows in block.windows(2) {
            if let [above, below] = rows {
                for (a, b) in above.iter().zip(*below) {
                    pairs.add(Some(a), Some(b));
                }
            }
        }
        let range = range(block);
        // Grain leaves less than a fifth of neighbours the same in all channels; text on a page more than half,
        // or, after the page was made smaller, at least much of its ground.
        let is_even = pairs.equal * 100 >= pairs.all * 40 || commonest(block) * 100 >= pixels * 35;
        if pairs.equal == pairs.all {
            self.flat += 1;
        } else if range >= RANGE_OF_THINGS {
            if is_even {
                self.graphic += 1;
            } else if !pairs.is_gradient() {
                self.texture += 1;
            }
        } else if is_even && pairs.is_gradient() {
            self.exact += 1;
        } else {
            self.grainy += 1;
        }
    }
}

#[derive(Default)]
struct Pairs {
    all: usize,
    equal: usize,
    runs: usize,
    straight: usize,
}

impl Pairs {
    fn add<const N: usize>(&mut self, a: Option<&[u8; N]>, b: Option<&[u8; N]>) {
        self.all += 1;
        self.equal += usize::from(a == b);
    }

    fn add_run<const N: usize>(&mut self, a: &[u8; N], b: &[u8; N], c: &[u8; N]) {
        self.runs += 1;
        let is_straight = a.iter().zip(b).zip(c).all(|((a, b), c)| {
            // Neither back and forth, nor faster and slower by more than rounding.
            let (a, b, c) = (i32::from(*a), i32::from(*b), i32::from(*c));
            (b - a) * (c - b) >= 0 && ((b - a) - (c - b)).abs() <= 1
        });
        self.straight += usize::from(is_straight);
    }

    fn is_gradient(&self) -> bool {
        self.straight * 100 >= self.runs * 95
    }
}

/// How many pixels have the colour that most of them have.
fn commonest<const N: usize>(block: &[&[[u8; N]]]) -> usize {
    let mut pixels: Vec<[u8; N]> = block.iter().copied().flatten().copied().collect();
    pixels.sort_unstable();
    let same = pixels.chunk_by(|a, b| a == b);
    same.map(<[_]>::len).max().unwrap_or_default()
}

/// How far the values of any channel lie apart.
fn range<const N: usize>(block: &[&[[u8; N]]]) -> u8 {
    let mut least = [u8::MAX; N];
    let mut most = [0_u8; N];
    for pixel in block.iter().copied().flatten() {
        for ((least, most), value) in least.iter_mut().zip(&mut most).zip(pixel) {
            *least = (*least).min(*value);
            *most = (*most).max(*value);
        }
    }
    let ranges = least.iter().zip(&most);
    ranges
        .map(|(least, most)| most.saturating_sub(*least))
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::operate::within;
    use super::*;

    fn made(side: u32, colour: impl Fn(u32, u32, u32) -> [u8; 3]) -> Raster {
        let mut state = 7_u32;
        let mut pixels = Vec::new();
        for y in 0..side {
            for x in 0..side {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                pixels.extend(colour(x, y, state >> 24));
            }
        }
        Raster {
            width: side,
            height: side,
            channels: Channels::Rgb,
            pixels,
        }
    }

    fn byte(value: u32) -> u8 {
        u8::try_from(value.min(255)).unwrap()
    }

    /// Lines of strokes on white, with empty lines between them.
    fn page(x: u32, y: u32) -> [u8; 3] {
        let is_line = y % 36 < 12 && x % 300 < 240;
        let is_ink = is_line && (x % 9 < 2 || (y % 36 < 2 && x % 27 < 18));
        [if is_ink { 0 } else { 255 }; 3]
    }

    /// A ramp with a camera's grain.
    fn sky(x: u32, y: u32, noise: u32) -> [u8; 3] {
        let light = 90 + (x + y) / 8 + noise % 5;
        [byte(light / 2), byte(light), byte(light + 40)]
    }

    #[track_caller]
    fn check(raster: &Raster, is_drawn: bool) {
        let looks = Looks::of(raster);
        assert_eq!(looks.is_drawn, is_drawn, "{}", looks.because);
    }

    #[test]
    fn drawings_are_known() {
        check(&made(200, |_, _, _| [9, 8, 7]), true);
        check(&made(600, |x, y, _| page(x, y)), true);
        let chart = made(300, |x, y, _| {
            if y > 300 - x / 40 * 30 {
                [200, 40, 40]
            } else {
                [240; 3]
            }
        });
        check(&chart, true);
        let exact = made(256, |_, y, _| [byte(y), byte(y / 2), 90]);
        check(&exact, true);
        let icon = made(24, |x, y, _| {
            if x.abs_diff(12) + y.abs_diff(12) < 9 {
                [20, 90, 200]
            } else {
                [255; 3]
            }
        });
        check(&icon, true);
    }

    #[test]
    fn photographs_are_known() {
        check(&made(300, sky), false);
        let leaves = made(300, |_, _, noise| {
            [byte(noise / 2), byte(noise), byte(noise / 3)]
        });
        check(&leaves, false);
        // Overexposed above, and something below.
        let half = made(300, |x, y, noise| {
            if y < 150 {
                [255; 3]
            } else {
                [byte(noise), byte(x / 2), 40]
            }
        });
        check(&half, false);
        check(&within(&made(600, sky), 100).unwrap(), false);
    }

    #[test]
    fn grounds_that_only_loss_makes_small_are_not_drawings() {
        let dithered = made(300, |x, y, noise| {
            [if noise < (x + y) / 3 { 250 } else { 10 }; 3]
        });
        check(&dithered, false);
        let slanted = made(400, |x, y, _| {
            [
                byte((x * 3 + y * 2) / 9),
                byte((x + 2 * y) / 7),
                byte((2 * x + y) / 5),
            ]
        });
        check(&slanted, false);
    }

    #[test]
    fn any_size_can_be_judged() {
        for (width, height) in [(1, 1), (1, 900), (900, 1), (7, 9), (9, 7)] {
            let raster = Raster {
                width,
                height,
                channels: Channels::Grey,
                pixels: vec![5; usize::try_from(width * height).unwrap()],
            };
            check(&raster, true);
        }
    }
}
