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

    /// Whether it looks drawn rather than photographed: more than half of the pixels equal their left
    /// neighbour, as in screenshots, logos and charts, and almost never under a camera's noise.
    /// A picture that is all one colour counts as drawn.
    pub(super) fn looks_drawn(&self) -> bool {
        let equal = match self.channels {
            Channels::Grey => equal_neighbours::<1>(&self.pixels),
            Channels::Rgb => equal_neighbours::<3>(&self.pixels),
            Channels::Rgba | Channels::Cmyk => equal_neighbours::<4>(&self.pixels),
        };
        equal.saturating_mul(2) >= self.pixel_count()
    }
}

fn over_white(colour: u8, alpha: u8) -> u8 {
    let (colour, alpha) = (u32::from(colour), u32::from(alpha));
    let mixed = (colour * alpha + 255 * (255 - alpha) + 127) / 255;
    u8::try_from(mixed).unwrap_or(u8::MAX)
}

fn equal_neighbours<const N: usize>(pixels: &[u8]) -> u64 {
    let (pixels, _) = pixels.as_chunks::<N>();
    let equal = pixels.windows(2).filter(|pair| pair.first() == pair.last());
    equal.fold(0, |count, _| count + 1)
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

    #[test]
    fn flat_areas_look_drawn() {
        assert!(raster(Channels::Grey, &[7, 7, 7, 9, 9, 9]).looks_drawn());
        assert!(!raster(Channels::Grey, &[1, 2, 3, 4, 5, 5]).looks_drawn());
        assert!(raster(Channels::Rgb, &[1; 30]).looks_drawn());
    }
}
