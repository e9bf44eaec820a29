//! A daisy close up: the flower is sharp, the meadow behind it melts into discs of light.

use crate::film::{Picture, Pixel};
use crate::noise::{fbm, gradient, hash};
use crate::vector::{Vec3, bell, mix, smooth, v};

pub const PICTURE: Picture = Picture {
    name: "daisy",
    width: 1920,
    height: 1280,
    exposure: 0.82,
    grain: 1.4,
    vignette: 0.45,
    light,
};

const TURN: f32 = std::f32::consts::TAU;
const HEART: f32 = 0.245;

fn light(pixel: Pixel) -> Vec3 {
    let mut light = meadow(pixel.x, pixel.y);
    light = stem(light, pixel);
    // The flower's plane is tilted a little away from the camera.
    let (fx, fy) = (pixel.x + 0.22, (pixel.y - 0.10) / 0.90);
    light = petals(
        light,
        fx,
        fy,
        pixel.size,
        &Row {
            count: 19,
            length: 0.80,
            seed: 1,
            shade: 0.72,
        },
    );
    light = petals(
        light,
        fx,
        fy,
        pixel.size,
        &Row {
            count: 17,
            length: 0.74,
            seed: 2,
            shade: 1.0,
        },
    );
    heart(light, fx, fy, pixel.size)
}

fn meadow(x: f32, y: f32) -> Vec3 {
    let broad = 0.5 + 0.5 * fbm(x * 0.9 + 2.0, y * 0.9, 3, 11);
    let low = smooth(0.9, -1.0, y);
    let base = v(0.090, 0.150, 0.030)
        .mix(v(0.22, 0.28, 0.07), smooth(0.3, 0.8, broad))
        .mix(v(0.018, 0.042, 0.014), 0.75 * low);
    let warm = v(0.42, 0.33, 0.12) * bell((x - 0.95).hypot(y - 0.75), 0.85);
    let blades = blurred_blades(x, y);
    let mut light = base + warm * 0.75 + v(0.06, 0.10, 0.02) * blades;
    for (scale, share, bright, seed) in [
        (2.1, 0.42, 0.34, 20),
        (3.3, 0.30, 0.55, 40),
        (5.2, 0.12, 0.8, 60),
    ] {
        light += discs(x, y, scale, share, bright, seed);
    }
    light
}

fn blurred_blades(x: f32, y: f32) -> f32 {
    let lean = x + 0.35 * y + 0.1 * gradient(x, y, 12);
    smooth(-0.3, 0.6, gradient(lean * 3.2, y * 0.5, 13)) * smooth(0.9, -0.6, y)
}

/// Points of light out of focus: even discs with a slightly bright rim.
fn discs(x: f32, y: f32, scale: f32, share: f32, bright: f32, seed: u32) -> Vec3 {
    let (gx, gy) = (x * scale, y * scale);
    let (cx, cy) = (gx.floor() as i32, gy.floor() as i32);
    let mut sum = Vec3::default();
    for dy in -1..=1 {
        for dx in -1..=1 {
            let own = |n: u32| hash(cx + dx, cy + dy, seed + n);
            let place = ((cx + dx) as f32 + own(1), (cy + dy) as f32 + own(2));
            // More light comes from above, where the sky shines through leaves.
            let high = smooth(-0.9, 0.9, place.1 / scale);
            if own(0) > share * (0.25 + high) {
                continue;
            }
            let radius = mix(0.42, 0.78, own(3));
            let distance = (gx - place.0).hypot(gy - place.1);
            let inside = smooth(radius, radius - 0.07, distance);
            let rim = 1.0 + 0.45 * bell(distance - radius + 0.09, 0.07);
            let colour = v(0.62, 0.72, 0.22).mix(v(1.0, 0.82, 0.42), own(4)) * (0.25 + own(5));
            sum += colour * (bright * inside * rim * 0.42);
        }
    }
    sum
}

fn stem(behind: Vec3, pixel: Pixel) -> Vec3 {
    let below = 0.05 - pixel.y;
    if below < 0.0 {
        return behind;
    }
    let middle = -0.22 + 0.10 * below + 0.05 * below * below;
    let aside = (pixel.x - middle) / 0.042;
    let blur = 0.10 + 0.25 * below;
    let cover = smooth(1.0 + blur, 1.0 - blur, aside.abs());
    let round = (1.0 - aside * aside).max(0.0).sqrt();
    let fibre = 0.9 + 0.2 * gradient(aside * 6.0, below * 1.5, 14);
    let colour =
        v(0.10, 0.19, 0.035) * (0.25 + 0.9 * round * smooth(-1.2, 0.8, aside + 0.3)) * fibre;
    behind.mix(colour, cover)
}

struct Row {
    count: u8,
    length: f32,
    seed: u32,
    shade: f32,
}

fn petals(behind: Vec3, x: f32, y: f32, size: f32, row: &Row) -> Vec3 {
    let radius = x.hypot(y);
    if radius > 1.1 {
        return behind;
    }
    let angle = y.atan2(x) / TURN + 1.0;
    let count = f32::from(row.count);
    let nearest = (angle * count).round() as i32;
    let mut light = behind;
    // In order around the flower, so that each lies over the one before it.
    let mut order = [nearest - 2, nearest + 2, nearest - 1, nearest + 1, nearest];
    order.sort_by_key(|cell| hash_order(*cell, row));
    for cell in order {
        light = petal(light, (angle, radius), cell, size, row);
    }
    light
}

fn hash_order(cell: i32, row: &Row) -> i32 {
    (hash(cell.rem_euclid(i32::from(row.count)), 5, row.seed + 90) * 1000.0) as i32
}

fn petal(behind: Vec3, (angle, radius): (f32, f32), cell: i32, size: f32, row: &Row) -> Vec3 {
    let count = f32::from(row.count);
    let own = |n: u32| hash(cell.rem_euclid(i32::from(row.count)), 7, row.seed * 100 + n);
    let middle = (cell as f32 + 0.45 * (own(1) - 0.5)) / count;
    let length = row.length * mix(0.88, 1.07, own(2));
    let along = radius / length;
    let bend = 0.035 * (own(3) - 0.5) * along * along;
    let aside = (angle - middle - bend) * TURN * radius;
    // Narrow at the heart, widest at two thirds, round with a small notch at the tip.
    let swell = smooth(0.05, 0.62, along) * (1.0 - smooth(0.80, 1.02, along).powf(1.8));
    let notch = 0.018 * bell(aside, 0.020) * own(4);
    let width = (0.030 + 0.088 * mix(0.85, 1.15, own(5))) * swell;
    let edge = aside.abs() - width + 0.004 * gradient(along * 9.0, own(6) * 50.0, 15);
    let tip = (along - 1.0) * length + notch;
    let blur = (size * 1.1).max(0.004 + 0.014 * (along - 0.5).max(0.0));
    let cover = smooth(blur, -blur, edge.max(tip));
    if cover <= 0.0 {
        // A petal darkens what lies just under its rim.
        let near = smooth(0.050, 0.0, edge.max(tip)) * smooth(1.15, 0.9, along);
        return behind * (1.0 - 0.45 * near * smooth(HEART, HEART + 0.1, radius));
    }
    let across = aside / width.max(0.01);
    // Two long furrows, a fine grain along the petal, and a curl towards the tip.
    let furrows = bell(across.abs() - 0.36, 0.13);
    let veins = gradient(across * 9.0 + own(7) * 40.0, along * 1.6, 16)
        + 0.5 * gradient(across * 22.0, along * 3.5 + own(7) * 9.0, 17);
    let tilt = 0.5 + 0.5 * (TURN * (middle - 0.13)).cos();
    let sunny =
        mix(0.46, 1.0, tilt) * (1.0 - 0.28 * across * (0.5 - tilt)) * mix(0.86, 1.06, own(8));
    let curl = 1.0 - 0.20 * smooth(0.72, 1.0, along) + 0.10 * bell(along - 0.62, 0.16);
    let tone = sunny * curl * (1.0 - 0.16 * furrows) * (1.0 + 0.055 * veins) * row.shade;
    let shadow = smooth(HEART * 0.92, HEART * 1.75, radius);
    let white = v(0.88, 0.86, 0.82).mix(v(0.62, 0.66, 0.78), 1.0 - sunny);
    let base = v(0.62, 0.66, 0.36);
    let colour = base.mix(white, smooth(0.28, 0.55, along)) * (tone * mix(0.42, 1.0, shadow));
    let rim = 1.0 - 0.30 * smooth(0.64, 1.0, across.abs());
    behind.mix(colour * rim, cover)
}

/// Florets on a spiral of the golden angle, closed in the middle and open at the rim.
fn heart(behind: Vec3, x: f32, y: f32, size: f32) -> Vec3 {
    let radius = x.hypot(y);
    if radius > HEART * 1.12 {
        return behind;
    }
    let dome = (1.0 - (radius / (HEART * 1.10)).powi(2)).max(0.0).sqrt();
    let mut light = behind.mix(
        v(0.16, 0.085, 0.010),
        smooth(HEART * 1.03, HEART * 0.95, radius),
    );
    let florets = 430_u16;
    let golden = 2.399_963_1_f32;
    let guess = (radius / HEART).powi(2) * f32::from(florets);
    let reach = 56.0;
    let first = (guess - reach).max(0.0) as u16;
    let last = ((guess + reach) as u16).min(florets);
    let mut best = (f32::MAX, 0_u16, 0.0, 0.0);
    for floret in first..last {
        let share = (f32::from(floret) + 0.5) / f32::from(florets);
        let (sin, cos) = (f32::from(floret) * golden).sin_cos();
        let wobble = 0.0022 * (hash(i32::from(floret), 1, 18) - 0.5);
        let far = HEART * share.sqrt() + wobble;
        let (dx, dy) = (x - far * cos, y - far * sin);
        let distance = dx.hypot(dy);
        if distance < best.0 {
            best = (distance, floret, dx, dy);
        }
    }
    let (distance, floret, dx, dy) = best;
    if floret == 0 && distance == f32::MAX {
        return light;
    }
    let share = (f32::from(floret) + 0.5) / f32::from(florets);
    let own = hash(i32::from(floret), 2, 18);
    let own_radius = mix(0.0085, 0.0128, share.sqrt()) * mix(0.9, 1.1, own);
    let inside = smooth(own_radius + size, own_radius - size, distance);
    let bump = (1.0 - (distance / own_radius).powi(2)).max(0.0).sqrt();
    let facing = 0.62 + 0.38 * ((dx * -0.75 + dy * 0.66) / own_radius).clamp(-1.0, 1.0);
    let hue = v(0.50, 0.42, 0.030).mix(
        v(0.92, 0.52, 0.018),
        smooth(0.15, 0.75, share + 0.2 * (own - 0.5)),
    );
    let open = smooth(0.62, 0.82, share + 0.12 * (own - 0.5));
    let throat = 1.0 - 0.55 * open * bell(distance, own_radius * 0.42);
    let round = 0.55 + 0.45 * dome + 0.30 * (x * -0.75 + y * 0.66) / HEART;
    let colour = hue * ((0.30 + 0.95 * bump * facing) * throat * round * 1.15);
    let glint = v(1.0, 0.95, 0.7)
        * (0.5
            * bell(
                (dx + own_radius * 0.35).hypot(dy - own_radius * 0.35),
                own_radius * 0.22,
            ));
    light = light.mix(colour + glint * (0.35 * (1.0 - open)), inside);
    light * (1.0 - 0.4 * smooth(HEART * 0.90, HEART * 1.05, radius) * smooth(0.2, 1.0, inside))
}
