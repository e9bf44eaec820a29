use super::super::operations::{Hundredths, Operations};
use super::super::raster::{Channels, Raster};

/// Brightness, contrast and saturation, in this order, as factors (Cloudflare Images): brightness times the
/// value, contrast around the middle grey, saturation around a colour's own luma. Alpha stays, and grey stays
/// grey.
pub(in super::super) fn light(mut raster: Raster, operations: &Operations) -> Raster {
    let curve = curve(operations.brightness, operations.contrast);
    let bends = operations.brightness != Hundredths::default()
        || operations.contrast != Hundredths::default();
    let saturates = operations.saturation != Hundredths::default();
    match raster.channels {
        Channels::Grey if bends => {
            for value in &mut raster.pixels {
                *value = bent(&curve, *value);
            }
        }
        Channels::Grey => {}
        Channels::Rgb if bends || saturates => {
            let (pixels, _) = raster.pixels.as_chunks_mut::<3>();
            for [r, g, b] in pixels {
                [*r, *g, *b] = lit([*r, *g, *b], &curve, operations.saturation);
            }
        }
        Channels::Rgba if bends || saturates => {
            let (pixels, _) = raster.pixels.as_chunks_mut::<4>();
            for [r, g, b, _] in pixels {
                [*r, *g, *b] = lit([*r, *g, *b], &curve, operations.saturation);
            }
        }
        Channels::Rgb | Channels::Rgba | Channels::Cmyk => {}
    }
    raster
}

fn lit(pixel: [u8; 3], curve: &[u8; 256], saturation: Hundredths) -> [u8; 3] {
    let pixel = pixel.map(|value| bent(curve, value));
    if saturation == Hundredths::default() {
        return pixel;
    }
    let grey = i32::from(luma(pixel));
    let factor = i32::from(saturation.0);
    pixel.map(|value| clamped(grey + ((i32::from(value) - grey) * factor).div_euclid(100)))
}

/// How bright a colour looks (ITU-R BT.709), of its encoded values.
pub(in super::super) fn luma([r, g, b]: [u8; 3]) -> u8 {
    let sum = u32::from(r) * 13_933 + u32::from(g) * 46_871 + u32::from(b) * 4_732;
    u8::try_from((sum + 32_768) >> 16).unwrap_or(u8::MAX)
}

fn curve(brightness: Hundredths, contrast: Hundredths) -> [u8; 256] {
    let (brightness, contrast) = (i32::from(brightness.0), i32::from(contrast.0));
    let mut value = 0_i32;
    [(); 256].map(|()| {
        // In hundredths, around the middle between 0 and 255.
        let bright = (value * brightness).min(25_500);
        let bent = i64::from(bright - 12_750) * i64::from(contrast) / 100 + 12_750;
        value += 1;
        u8::try_from((bent.clamp(0, 25_500) + 50) / 100).unwrap_or(u8::MAX)
    })
}

fn bent(curve: &[u8; 256], value: u8) -> u8 {
    curve.get(usize::from(value)).copied().unwrap_or(value)
}

fn clamped(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).unwrap_or(u8::MAX)
}

/// Adds to each pixel what sets it apart from those around it (unsharp mask over the binomial 3 × 3):
/// `amount` is in hundredths, and 1.00, which Cloudflare recommends for reduced pictures, adds half of the difference.
pub(in super::super) fn sharpen(raster: Raster, amount: u16) -> Raster {
    if amount == 0 || raster.pixels.is_empty() {
        return raster;
    }
    let pixels = match raster.channels {
        Channels::Grey => sharpened::<1>(&raster, amount),
        Channels::Rgb => sharpened::<3>(&raster, amount),
        Channels::Rgba => sharpened::<4>(&raster, amount),
        // Colours are brought to red, green and blue before.
        Channels::Cmyk => return raster,
    };
    Raster { pixels, ..raster }
}

fn sharpened<const N: usize>(raster: &Raster, amount: u16) -> Vec<u8> {
    let width = usize::try_from(raster.width).unwrap_or(usize::MAX).max(1);
    let (pixels, _) = raster.pixels.as_chunks::<N>();
    let rows: Vec<&[[u8; N]]> = pixels.chunks_exact(width).collect();
    let mut out = Vec::with_capacity(raster.pixels.len());
    for (number, row) in rows.iter().copied().enumerate() {
        let above = number.checked_sub(1).and_then(|y| rows.get(y)).copied();
        let around = [
            above.unwrap_or(row),
            row,
            rows.get(number + 1).copied().unwrap_or(row),
        ];
        for (x, pixel) in row.iter().enumerate() {
            out.extend_from_slice(&sharper(*pixel, x, around, amount));
        }
    }
    out
}

fn sharper<const N: usize>(
    pixel: [u8; N],
    x: usize,
    around: [&[[u8; N]]; 3],
    amount: u16,
) -> [u8; N] {
    let mut sums = [0_i32; N];
    let mut weights = 0;
    for (row, row_weight) in around.into_iter().zip([1, 2, 1]) {
        for (column, weight) in [x.checked_sub(1), Some(x), Some(x + 1)]
            .into_iter()
            .zip([1, 2, 1])
        {
            let near = column.and_then(|x| row.get(x)).unwrap_or(&pixel);
            // What cannot be seen has no say.
            let weight = row_weight
                * weight
                * if N == 4 {
                    near.last().map_or(0, |a| i32::from(*a))
                } else {
                    1
                };
            weights += weight;
            for (sum, value) in sums.iter_mut().zip(near) {
                *sum += i32::from(*value) * weight;
            }
        }
    }
    let mut result = pixel;
    let colours = if N == 4 { 3 } else { N };
    for (value, sum) in result.iter_mut().zip(sums).take(colours) {
        let apart = i32::from(*value) * weights - sum;
        let added = i64::from(apart) * i64::from(amount) / (200 * i64::from(weights.max(1)));
        *value = clamped(i32::from(*value) + i32::try_from(added).unwrap_or_default());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(channels: Channels, pixels: &[u8]) -> Raster {
        Raster {
            width: u32::try_from(pixels.len() / channels.count()).unwrap(),
            height: 1,
            channels,
            pixels: pixels.to_vec(),
        }
    }

    fn factors(brightness: u16, contrast: u16, saturation: u16) -> Operations {
        Operations {
            brightness: Hundredths(brightness),
            contrast: Hundredths(contrast),
            saturation: Hundredths(saturation),
            ..Operations::default()
        }
    }

    #[track_caller]
    fn check(operations: &Operations, from: [u8; 3], to: [u8; 3]) {
        let found = light(of(Channels::Rgb, &from), operations);
        assert_eq!(found.pixels, to);
        let with_alpha = [from[0], from[1], from[2], 9];
        let found = light(of(Channels::Rgba, &with_alpha), operations);
        assert_eq!(found.pixels, [to[0], to[1], to[2], 9]);
    }

    #[test]
    fn factors_do_what_they_say() {
        check(&factors(100, 100, 100), [1, 128, 255], [1, 128, 255]);
        check(&factors(50, 100, 100), [2, 128, 255], [1, 64, 128]);
        check(&factors(200, 100, 100), [2, 100, 200], [4, 200, 255]);
        check(&factors(u16::MAX, 100, 100), [0, 1, 255], [0, 255, 255]);
        check(&factors(100, 200, 100), [0, 127, 200], [0, 127, 255]);
        check(&factors(100, 50, 100), [0, 127, 255], [64, 127, 191]);
        check(&factors(100, 0, 100), [0, 90, 255], [128, 128, 128]);
        check(&factors(100, u16::MAX, 100), [0, 127, 128], [0, 0, 255]);
        check(&factors(100, 100, 0), [255, 0, 0], [54, 54, 54]);
        check(&factors(100, 100, 200), [150, 100, 100], [189, 89, 89]);
        check(&factors(100, 100, u16::MAX), [80, 80, 80], [80, 80, 80]);
    }

    #[test]
    fn grey_stays_grey() {
        let grey = of(Channels::Grey, &[0, 100, 255]);
        assert_eq!(light(grey.clone(), &factors(100, 100, 300)), grey);
        let half = light(grey, &factors(50, 100, 300));
        assert_eq!(half, of(Channels::Grey, &[0, 50, 128]));
    }

    #[test]
    fn luma_is_that_of_the_eye() {
        assert_eq!(luma([255; 3]), 255);
        assert_eq!(luma([0, 255, 0]), 182);
        assert_eq!(luma([0, 0, 255]), 18);
    }

    #[test]
    fn edges_are_lifted_and_areas_are_not() {
        let flat = of(Channels::Rgb, &[77; 30]);
        assert_eq!(sharpen(flat.clone(), 1000), flat);
        let edge = of(Channels::Grey, &[50, 50, 50, 100, 100, 100]);
        // The mean beside the edge is 62.5 and 87.5: half of 12.5 is added.
        assert_eq!(
            sharpen(edge.clone(), 100).pixels,
            [50, 50, 44, 106, 100, 100]
        );
        assert_eq!(
            sharpen(edge.clone(), 1000).pixels,
            [50, 50, 0, 162, 100, 100]
        );
        assert_eq!(sharpen(edge.clone(), 0), edge);
    }

    #[test]
    fn sharpening_asks_nothing_of_what_is_transparent() {
        let edge = [50, 50, 50, 255, 50, 50, 50, 255, 250, 250, 250, 0];
        let found = sharpen(of(Channels::Rgba, &edge), 1000).pixels;
        assert_eq!(found[..8], edge[..8]);
        assert_eq!(found[11], 0);
    }
}
