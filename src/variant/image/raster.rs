/// Pixels of eight bits a channel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raster {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: Channels,
    pub(super) pixels: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    Grey,
    Rgb,
    Rgba,
    /// How much ink: 0 is paper. Brought to `Rgb` before anything is written.
    Cmyk,
}

impl Channels {
    pub(super) fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }
}

impl Raster {
    pub(super) fn has_alpha(&self) -> bool {
        self.channels == Channels::Rgba
    }

    pub(super) fn pixel_count(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Drops an alpha channel that hides nothing: it costs a quarter of everything that follows.
    pub(super) fn without_idle_alpha(mut self) -> Self {
        let (quads, _) = self.pixels.as_chunks::<4>();
        if self.has_alpha() && quads.iter().all(|[.., alpha]| *alpha == u8::MAX) {
            self.pixels = quads.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect();
            self.channels = Channels::Rgb;
        }
        self
    }

    /// Gives it these channels, if they are more than it has: nothing changes in what it shows.
    pub(super) fn widen(&mut self, channels: Channels) {
        let pixels = &self.pixels;
        self.pixels = match (self.channels, channels) {
            (Channels::Grey, Channels::Rgb) => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
            (Channels::Grey, Channels::Rgba) => {
                let opaque = |grey: &u8| [*grey, *grey, *grey, u8::MAX];
                pixels.iter().flat_map(opaque).collect()
            }
            (Channels::Rgb, Channels::Rgba) => {
                let (pixels, _) = pixels.as_chunks::<3>();
                let opaque = |[r, g, b]: &[u8; 3]| [*r, *g, *b, u8::MAX];
                pixels.iter().flat_map(opaque).collect()
            }
            _ => return,
        };
        self.channels = channels;
    }

    /// Three channels whatever there was; what is transparent shows white, as on a page.
    pub(super) fn rgb_on_white(&self) -> Vec<u8> {
        match self.channels {
            Channels::Grey => self.pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
            Channels::Rgb => self.pixels.clone(),
            Channels::Cmyk => self.inks_as_light(),
            Channels::Rgba => {
                let (quads, _) = self.pixels.as_chunks::<4>();
                quads
                    .iter()
                    .flat_map(|[r, g, b, alpha]| [r, g, b].map(|c| over_white(*c, *alpha)))
                    .collect()
            }
        }
    }

    /// Ink without a profile, as browsers show it: each colour is what its ink and black let through.
    pub(super) fn inks_as_light(&self) -> Vec<u8> {
        let (inks, _) = self.pixels.as_chunks::<4>();
        let through = |ink: u8, black: u8| {
            let light = u32::from(u8::MAX - ink) * u32::from(u8::MAX - black);
            u8::try_from((light + 127) / 255).unwrap_or(u8::MAX)
        };
        inks.iter()
            .flat_map(|[c, m, y, k]| [through(*c, *k), through(*m, *k), through(*y, *k)])
            .collect()
    }
}

fn over_white(colour: u8, alpha: u8) -> u8 {
    let (colour, alpha) = (u32::from(colour), u32::from(alpha));
    let mixed = (colour * alpha + 255 * (255 - alpha) + 127) / 255;
    u8::try_from(mixed).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster(channels: Channels, pixels: &[u8]) -> Raster {
        Raster {
            width: u32::try_from(pixels.len() / channels.count()).unwrap(),
            height: 1,
            channels,
            pixels: pixels.to_vec(),
        }
    }

    #[test]
    fn transparent_shows_white() {
        let mixed = raster(
            Channels::Rgba,
            &[9, 9, 9, 0, 9, 8, 7, 255, 0, 255, 100, 128],
        );
        assert_eq!(
            mixed.rgb_on_white(),
            [255, 255, 255, 9, 8, 7, 127, 255, 177]
        );
        assert_eq!(raster(Channels::Grey, &[5]).rgb_on_white(), [5, 5, 5]);
    }

    #[test]
    fn only_idle_alpha_is_dropped() {
        let idle = raster(Channels::Rgba, &[1, 2, 3, 255, 4, 5, 6, 255]);
        assert_eq!(
            idle.without_idle_alpha(),
            raster(Channels::Rgb, &[1, 2, 3, 4, 5, 6])
        );
        let used = raster(Channels::Rgba, &[1, 2, 3, 255, 4, 5, 6, 254]);
        assert_eq!(used.clone().without_idle_alpha(), used);
    }
}
