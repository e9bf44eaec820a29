//! What is done to pixels between decoding and encoding.

mod blur;
mod canvas;
mod light;
mod orientation;
mod plan;
mod resize;
mod smart;

pub(super) use self::light::luma;
pub(super) use self::orientation::Turn;
pub(super) use self::plan::{Focus, Plan};
pub(super) use self::resize::resizing_bytes;

use image::metadata::Orientation;

use super::error::ImageError;
use super::operations::{Fit, Gravity, Operations};
use super::raster::Raster;

/// The pixels of a picture as its decoder left them: stored, maybe reduced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) raster: &'a Raster,
    /// Width and height before reducing.
    pub(super) full: (u32, u32),
    /// One pixel stands for this many, both ways.
    pub(super) reduction: u8,
}

impl Stored<'_> {
    /// The plan for this picture, for which `smart` looks at its pixels.
    pub(super) fn plan(
        self,
        orientation: Orientation,
        operations: &Operations,
    ) -> Result<Plan, ImageError> {
        let plan = |focus| Plan::new(self.full, orientation, operations, focus);
        let asked = plan(Focus::asked(operations.gravity));
        if operations.gravity != Gravity::Smart || operations.fit != Fit::Cover {
            return Ok(asked);
        }
        let open = Operations {
            crop: operations.crop,
            rotate: operations.rotate,
            flip: operations.flip,
            ..Operations::default()
        };
        let all = Plan::new(self.full, orientation, &open, Focus::MIDDLE);
        let share = (
            asked.part.width / all.part.width,
            asked.part.height / all.part.height,
        );
        if share.0 >= 1.0 && share.1 >= 1.0 {
            return Ok(asked);
        }
        let look = Operations {
            width: Some(smart::LOOK_SIDE),
            height: Some(smart::LOOK_SIDE),
            ..open
        };
        let small = self.shape(&Plan::new(self.full, orientation, &look, Focus::MIDDLE))?;
        let share = if all.turn.swaps_sides() {
            (share.1, share.0)
        } else {
            share
        };
        let window = (
            f64::from(small.width) * share.0,
            f64::from(small.height) * share.1,
        );
        Ok(plan(smart::focus(&small, window)))
    }

    /// Cuts, resizes and turns. Turning comes after the resize, when there are fewer pixels.
    pub(super) fn shape(self, plan: &Plan) -> Result<Raster, ImageError> {
        let part = plan.part.reduced(self.full, self.reduction, self.raster);
        let resized = resize::resize(self.raster, part, plan.size)?;
        Ok(plan.turn.apply(resized))
    }
}

/// Changes light, colours and edges. The pixels are sRGB.
pub(super) fn tone(raster: Raster, operations: &Operations) -> Raster {
    let lit = light::light(raster, operations);
    let blurred = blur::blur(lit, operations.blur);
    light::sharpen(blurred, operations.sharpen)
}

/// Puts the background under what is transparent, and the room around that `pad` asks for.
pub(super) fn ground(raster: Raster, plan: &Plan, operations: &Operations) -> Raster {
    let grounded = match operations.background {
        Some(ground) => canvas::on_ground(raster, ground),
        None => raster,
    };
    match plan.canvas {
        Some(canvas) => canvas::on_canvas(grounded, canvas, operations.background),
        None => grounded,
    }
}

/// The same inside a square of that side.
pub(super) fn within(raster: &Raster, side: u32) -> Result<Raster, ImageError> {
    let small = Operations {
        width: Some(side),
        height: Some(side),
        ..Operations::default()
    };
    let size = (raster.width, raster.height);
    let plan = Plan::new(size, Orientation::NoTransforms, &small, Focus::MIDDLE);
    resize::resize(raster, plan.part, plan.size)
}

/// The least of blurs.
pub(super) fn soften(raster: Raster) -> Raster {
    blur::blur(raster, 1)
}
