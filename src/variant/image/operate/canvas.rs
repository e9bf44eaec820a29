use super::super::raster::{Channels, Raster};
use super::plan::Canvas;

/// White, for grounds that a format without alpha cannot leave open: as on a page.
const OPEN: [u8; 4] = [255, 255, 255, 0];

/// Puts a ground under what is transparent. With an opaque ground no alpha is left.
pub(in super::super) fn on_ground(raster: Raster, ground: [u8; 4]) -> Raster {
    if raster.channels != Channels::Rgba {
        return raster;
    }
    let (quads, _) = raster.pixels.as_chunks::<4>();
    if ground_alpha(ground) == u8::MAX {
        let pixels = quads.iter().flat_map(|quad| {
            let [r, g, b, _] = over(*quad, ground);
            [r, g, b]
        });
        return Raster {
            channels: Channels::Rgb,
            pixels: pixels.collect(),
            ..raster
        };
    }
    let pixels = quads.iter().flat_map(|quad| over(*quad, ground));
    Raster {
        pixels: pixels.collect(),
        ..raster
    }
}

/// Lays a picture on a larger canvas. Without a ground, the room around it is transparent.
pub(in super::super) fn on_canvas(
    mut raster: Raster,
    canvas: Canvas,
    ground: Option<[u8; 4]>,
) -> Raster {
    let ground = ground.unwrap_or(OPEN);
    let [red, green, blue, alpha] = ground;
    let channels = if alpha != u8::MAX || raster.channels == Channels::Rgba {
        Channels::Rgba
    } else if raster.channels == Channels::Grey && red == green && green == blue {
        Channels::Grey
    } else {
        Channels::Rgb
    };
    let pixel = ground.get(..channels.count()).unwrap_or(&ground);
    let size = channels.count();
    let (width, height) = (as_index(canvas.width), as_index(canvas.height));
    let mut pixels = pixel.repeat(width.saturating_mul(height));
    raster.widen(channels);
    let rows = raster
        .pixels
        .chunks_exact(as_index(raster.width).saturating_mul(size).max(1));
    let places = pixels
        .chunks_exact_mut(width.saturating_mul(size).max(1))
        .skip(as_index(canvas.top));
    let left = as_index(canvas.left).saturating_mul(size);
    for (place, row) in places.zip(rows) {
        if let Some(place) = place.get_mut(left..left.saturating_add(row.len())) {
            place.copy_from_slice(row);
        }
    }
    Raster {
        width: canvas.width,
        height: canvas.height,
        channels,
        pixels,
    }
}

fn ground_alpha([.., alpha]: [u8; 4]) -> u8 {
    alpha
}

/// "Source over" of W3C Compositing §9, with colours that are not weighed by their alpha.
fn over([r, g, b, alpha]: [u8; 4], [under_r, under_g, under_b, under]: [u8; 4]) -> [u8; 4] {
    let (alpha, under) = (u32::from(alpha), u32::from(under));
    // In parts of 255 × 255.
    let (above, below) = (alpha * 255, under * (255 - alpha));
    let whole = above + below;
    let mixed = |colour: u8, ground: u8| {
        let sum = u32::from(colour) * above + u32::from(ground) * below + whole / 2;
        u8::try_from(sum.checked_div(whole).unwrap_or_default()).unwrap_or(u8::MAX)
    };
    [
        mixed(r, under_r),
        mixed(g, under_g),
        mixed(b, under_b),
        u8::try_from((whole + 127) / 255).unwrap_or(u8::MAX),
    ]
}

fn as_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLUE: [u8; 4] = [0, 0, 255, 255];

    fn of(channels: Channels, pixels: &[u8]) -> Raster {
        Raster {
            width: u32::try_from(pixels.len() / channels.count()).unwrap(),
            height: 1,
            channels,
            pixels: pixels.to_vec(),
        }
    }

    #[test]
    fn grounds_show_through_what_is_transparent() {
        let raster = of(
            Channels::Rgba,
            &[255, 0, 0, 255, 255, 0, 0, 0, 255, 0, 0, 128],
        );
        let found = on_ground(raster.clone(), BLUE);
        assert_eq!(
            found,
            of(Channels::Rgb, &[255, 0, 0, 0, 0, 255, 128, 0, 127])
        );
        let half = on_ground(raster.clone(), [0, 0, 255, 128]);
        assert_eq!(half.pixels[..8], [255, 0, 0, 255, 0, 0, 255, 128]);
        assert_eq!(half.pixels[11], 192);
        assert_eq!(
            on_ground(raster, [9, 9, 9, 0]).pixels[8..],
            [255, 0, 0, 128]
        );
        let opaque = of(Channels::Grey, &[7, 8]);
        assert_eq!(on_ground(opaque.clone(), BLUE), opaque);
    }

    const CANVAS: Canvas = Canvas {
        width: 4,
        height: 2,
        left: 1,
        top: 1,
    };

    #[track_caller]
    fn check(
        raster: &Raster,
        ground: Option<[u8; 4]>,
        channels: Channels,
        around: &[u8],
        inner: &[u8],
    ) {
        let found = on_canvas(raster.clone(), CANVAS, ground);
        assert_eq!(
            (found.width, found.height, found.channels),
            (4, 2, channels)
        );
        let size = channels.count();
        let mut expect = around.repeat(8);
        expect[5 * size..7 * size].copy_from_slice(inner);
        assert_eq!(found.pixels, expect);
    }

    #[test]
    fn pictures_stand_where_they_should_on_a_canvas() {
        let grey = of(Channels::Grey, &[7, 8]);
        check(&grey, Some([9, 9, 9, 255]), Channels::Grey, &[9], &[7, 8]);
        check(
            &grey,
            Some(BLUE),
            Channels::Rgb,
            &BLUE[..3],
            &[7, 7, 7, 8, 8, 8],
        );
        let inner = [7, 7, 7, 255, 8, 8, 8, 255];
        check(&grey, None, Channels::Rgba, &OPEN, &inner);
        let rgb = of(Channels::Rgb, &[7, 7, 7, 8, 8, 8]);
        check(&rgb, None, Channels::Rgba, &OPEN, &inner);
        check(&rgb, Some(BLUE), Channels::Rgb, &BLUE[..3], &rgb.pixels);
        let rgba = of(Channels::Rgba, &[1, 2, 3, 4, 5, 6, 7, 8]);
        check(&rgba, Some(BLUE), Channels::Rgba, &BLUE, &rgba.pixels);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let wide = of(Channels::Grey, &[1, 2, 3, 4, 5]);
        let found = on_canvas(wide, CANVAS, Some([9, 9, 9, 255]));
        assert_eq!(found.pixels, [9; 8]);
    }
}
