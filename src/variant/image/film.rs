use super::raster::Raster;

/// The frames of a picture; a still one has a single frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Film {
    /// At least one; all of one size, each the whole canvas (disposal is done).
    pub(super) frames: Vec<Frame>,
    /// How often it is played; 0 is forever.
    pub(super) repeats: u16,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) raster: Raster,
    /// How long it is shown; 0 in a still picture.
    pub(super) milliseconds: u32,
}

impl Film {
    pub(super) fn still(raster: Raster) -> Self {
        Self {
            frames: vec![Frame {
                raster,
                milliseconds: 0,
            }],
            repeats: 0,
        }
    }

    /// Its first frame: what a still format shows of it.
    pub(super) fn first(&self) -> Option<&Raster> {
        self.frames.first().map(|frame| &frame.raster)
    }

    pub(super) fn is_animated(&self) -> bool {
        self.frames.len() > 1
    }

    /// Bytes of all pixels.
    pub(super) fn bytes(&self) -> u64 {
        self.frames
            .iter()
            .map(|frame| frame.raster.pixels.len() as u64)
            .sum()
    }

    /// The same film with as many channels in each frame as the richest one has.
    pub(super) fn in_same_channels(mut self) -> Self {
        let counts = self.frames.iter().map(|frame| frame.raster.channels);
        if let Some(richest) = counts.max_by_key(|channels| channels.count()) {
            for frame in &mut self.frames {
                frame.raster.widen(richest);
            }
        }
        self
    }

    /// The same film with each frame made anew.
    pub(super) fn map<E>(
        &self,
        mut make: impl FnMut(&Raster) -> Result<Raster, E>,
    ) -> Result<Self, E> {
        let frame = |frame: &Frame| {
            Ok(Frame {
                raster: make(&frame.raster)?,
                milliseconds: frame.milliseconds,
            })
        };
        Ok(Self {
            frames: self.frames.iter().map(frame).collect::<Result<_, E>>()?,
            repeats: self.repeats,
        })
    }
}
