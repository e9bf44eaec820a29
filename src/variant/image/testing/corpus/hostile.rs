//! Files that nobody makes by mistake.

use super::png::{chunk, zlib};
use super::webp::{header, push, riff};
use super::{cmyk_profile, exif};

pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| all.push((name.to_owned(), bytes));
    pngs(&mut add);
    gifs(&mut add);
    jpegs(&mut add);
    others(&mut add);
    all
}

type Add<'a> = &'a mut dyn FnMut(&str, Vec<u8>);

fn png(size: (u32, u32), kind: [u8; 5], chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&size.0.to_be_bytes()[..], &size.1.to_be_bytes(), &kind].concat();
    chunk(&mut file, *b"IHDR", &header);
    for (kind, content) in chunks {
        chunk(&mut file, *kind, content);
    }
    chunk(&mut file, *b"IEND", &[]);
    file
}

fn pngs(add: Add<'_>) {
    const RGBA: [u8; 5] = [8, 6, 0, 0, 0];
    let zeros = zlib(&vec![0; 20 << 20]);
    let data = |bytes: &[u8]| (*b"IDAT", bytes.to_vec());
    add(
        "png of 50 000 x 50 000",
        png((50_000, 50_000), RGBA, &[data(&zeros)]),
    );
    add(
        "png of 16 000 x 3 000 from few bytes",
        png((16_000, 3_000), [1, 0, 0, 0, 0], &[data(&zeros)]),
    );
    add(
        "png with more pixels than it says",
        png((2, 2), RGBA, &[data(&zeros)]),
    );
    add("png without pixels", png((64, 64), RGBA, &[]));
    add("png of no size", png((0, 0), RGBA, &[data(&zeros)]));
    add(
        "png of the largest size",
        png((u32::MAX, u32::MAX), RGBA, &[data(&zeros)]),
    );
    let icc = |content: &[u8]| (*b"iCCP", [&b"x\0\0"[..], &zlib(content)].concat());
    let pixels = data(&zlib(&[0; 4 * (4 * 4 + 1)]));
    add(
        "png with a profile of 20 MiB",
        png((4, 4), RGBA, &[icc(&vec![0; 20 << 20]), pixels.clone()]),
    );
    let nested = [cmyk_profile(), cmyk_profile().repeat(500)].concat();
    add(
        "png with profiles in a profile",
        png((4, 4), RGBA, &[icc(&nested), pixels.clone()]),
    );
    add(
        "png with a profile of inks",
        png((4, 4), RGBA, &[icc(&cmyk_profile()), pixels.clone()]),
    );
    for n in 0..200_u8 {
        let mut profile = cmyk_profile();
        let place = 128 + usize::from(n) * 2 % (profile.len() - 129);
        profile[place] = profile[place].wrapping_add(n | 0x80);
        profile[16..20].copy_from_slice(b"RGB ");
        add(
            &format!("png with a broken profile {n}"),
            png((4, 4), RGBA, &[icc(&profile), pixels.clone()]),
        );
    }
    let text = [&b"Comment\0\0"[..], &zlib(&vec![b' '; 20 << 20])].concat();
    add(
        "png with a text of 20 MiB",
        png((4, 4), RGBA, &[(*b"zTXt", text), pixels.clone()]),
    );
    add(
        "png with Exif of 2 MiB",
        png(
            (4, 4),
            RGBA,
            &[
                (*b"eXIf", [exif(6), vec![0; 2 << 20]].concat()),
                pixels.clone(),
            ],
        ),
    );
    let control = |frames: u32| (*b"acTL", [frames.to_be_bytes(), [0; 4]].concat());
    add(
        "png that says four thousand million frames",
        png((4, 4), RGBA, &[control(u32::MAX), pixels.clone()]),
    );
    add(
        "png of frames that are not there",
        png((4, 4), RGBA, &[control(3), pixels.clone()]),
    );
    // PngSuite's kinds of damage (the files themselves have no licence that we could carry).
    let good = png((4, 4), RGBA, std::slice::from_ref(&pixels));
    for kind in [
        [8, 1, 0, 0, 0],
        [8, 5, 0, 0, 0],
        [3, 0, 0, 0, 0],
        [99, 0, 0, 0, 0],
        [8, 6, 1, 0, 0],
        [8, 6, 0, 1, 0],
        [8, 6, 0, 0, 2],
    ] {
        add(
            &format!("png of kind {kind:?}"),
            png((4, 4), kind, std::slice::from_ref(&pixels)),
        );
    }
    add(
        "png without its palette",
        png((4, 4), [8, 3, 0, 0, 0], &[data(&zlib(&[0; 20]))]),
    );
    add(
        "png with indices beyond its palette",
        png(
            (4, 4),
            [8, 3, 0, 0, 0],
            &[
                (*b"PLTE", vec![1, 2, 3]),
                data(&zlib(&[0, 9, 9, 9, 9].repeat(4))),
            ],
        ),
    );
    add(
        "png with line ends changed",
        [&b"\x89PNG\n\x1a\n"[..], &good[8..]].concat(),
    );
    add(
        "png in seven bits",
        good.iter().map(|byte| byte & 0x7f).collect(),
    );
    add(
        "png with an unknown filter",
        png((4, 4), RGBA, &[data(&zlib(&[9; 68]))]),
    );
}

fn gif(size: (u16, u16), frames: usize, frame: &[u8]) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend_from_slice(&size.0.to_le_bytes());
    file.extend_from_slice(&size.1.to_le_bytes());
    file.extend_from_slice(&[0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    file.extend_from_slice(&frame.repeat(frames));
    file.push(0x3b);
    file
}

fn gifs(add: Add<'_>) {
    // One white pixel: clear, 1, end.
    let dot = [0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x4c, 1, 0];
    add("gif of 65 535 frames", gif((1, 1), 65_535, &dot));
    add("gif of 900 large frames", gif((7_000, 7_000), 900, &dot));
    add("gif of 3 large frames", gif((7_000, 7_000), 3, &dot));
    add("gif of no size", gif((0, 0), 1, &dot));
    let mut wide = dot;
    wide[5..9].fill(0xff);
    add(
        "gif with a frame larger than its canvas",
        gif((10, 10), 5, &wide),
    );
    let mut outside = dot;
    outside[1..5].fill(0xff);
    add(
        "gif with a frame outside its canvas",
        gif((10, 10), 5, &outside),
    );
    add("gif without frames", gif((10, 10), 0, &dot));
}

fn jpegs(add: Add<'_>) {
    let head = |width: u16, height: u16, kind: u8| {
        let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
        file.extend_from_slice(&[1; 64]);
        file.extend_from_slice(&[0xff, kind, 0, 11, 8]);
        file.extend_from_slice(&height.to_be_bytes());
        file.extend_from_slice(&width.to_be_bytes());
        file.extend_from_slice(&[1, 1, 0x11, 0]);
        file
    };
    let scan: &[u8] = &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];
    for kind in [0xc0, 0xc2] {
        add(
            "jpeg of 7 000 x 7 000 without data",
            [&head(7_000, 7_000, kind), scan].concat(),
        );
        add(
            "jpeg of 65 535 x 65 535",
            [&head(65_535, 65_535, kind), scan].concat(),
        );
        add("jpeg of no height", [&head(16, 0, kind), scan].concat());
    }
    let progressive: &[u8] = &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 0, 0, 0, 0];
    add(
        "jpeg of 90 scans",
        [head(4_000, 4_000, 0xc2), progressive.repeat(90)].concat(),
    );
    add(
        "jpeg of 5 000 scans",
        [head(4_000, 4_000, 0xc2), progressive.repeat(5_000)].concat(),
    );
    add(
        "jpeg of comments",
        [vec![0xff, 0xd8], [0xff, 0xfe, 0, 2].repeat(500_000)].concat(),
    );
    let part = [
        &[0xff, 0xe2, 0xff, 0xff][..],
        b"ICC_PROFILE\0\x01\xff",
        &[0; 65_519],
    ]
    .concat();
    add(
        "jpeg with the same part of a profile many times",
        [
            vec![0xff, 0xd8],
            part.repeat(300),
            head(8, 8, 0xc0)[2..].to_vec(),
            scan.to_vec(),
        ]
        .concat(),
    );
}

fn others(add: Add<'_>) {
    let absurd = [
        (*b"VP8X", header(0x12, (16_777_216, 16_777_216))),
        (*b"ANIM", vec![0; 6]),
    ];
    add("webp of an absurd canvas", riff(&absurd));
    let mut frame = vec![0; 16];
    push(&mut frame, *b"VP8L", &[0x2f, 0, 0, 0, 0, 0x88, 0x88, 0x08]);
    let mut many = vec![
        (*b"VP8X", header(0x12, (4_000, 4_000))),
        (*b"ANIM", vec![0; 6]),
    ];
    many.extend(std::iter::repeat_n((*b"ANMF", frame), 5_000));
    add("webp of 5 000 large frames", riff(&many));
    let lossless = |bits: u32| [&[0x2f][..], &bits.to_le_bytes(), &[0xff; 60]].concat();
    add(
        "webp of 16 384 x 16 384",
        riff(&[(*b"VP8L", lossless(0x0fff_ffff))]),
    );

    let tiff = |entries: &[(u16, u16, u32, u32)]| {
        let mut file = b"II*\0\x08\0\0\0".to_vec();
        file.extend_from_slice(&u16::try_from(entries.len()).unwrap().to_le_bytes());
        for (tag, kind, count, value) in entries {
            file.extend_from_slice(&tag.to_le_bytes());
            file.extend_from_slice(&kind.to_le_bytes());
            file.extend_from_slice(&count.to_le_bytes());
            file.extend_from_slice(&value.to_le_bytes());
        }
        file.extend_from_slice(&[0; 64]);
        file
    };
    let base = [
        (256, 4, 1, 5_000),
        (257, 4, 1, 5_000),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
    ];
    let with = |more: &[(u16, u16, u32, u32)]| tiff(&[&base[..], more].concat());
    add(
        "tiff with very many strips",
        with(&[(273, 4, u32::MAX, 8), (278, 4, 1, 1), (279, 4, u32::MAX, 8)]),
    );
    add(
        "tiff with a tag of 2 GiB",
        with(&[(273, 4, 1, 8), (279, 4, 1, 8), (34_675, 1, 0x7fff_ffff, 8)]),
    );
    add(
        "tiff with strips beyond its end",
        with(&[(273, 4, 1, 0xffff_0000), (279, 4, 1, 25_000_000)]),
    );
    add(
        "tiff of very many tags",
        tiff(&[(256, 4, 1, 5_000); 60_000]),
    );
    add(
        "tiff that points at itself",
        b"II*\0\x08\0\0\0\0\0\x08\0\0\0".to_vec(),
    );

    let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bmp.extend_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f, 1, 0, 24, 0]);
    bmp.extend_from_slice(&[0; 24]);
    add("bmp of the largest size", bmp.clone());
    bmp[18..26].copy_from_slice(&[0x58, 0x1b, 0, 0, 0x58, 0x1b, 0, 0]);
    add("bmp of 7 000 x 7 000 without data", bmp);

    for (kind, content) in [(*b"meta", vec![0; 4]), (*b"meta", vec![0xff; 64])] {
        let mut file = b"\0\0\0\x14ftypavif\0\0\0\0avif".to_vec();
        file.extend_from_slice(&u32::try_from(content.len() + 8).unwrap().to_be_bytes());
        file.extend_from_slice(&kind);
        file.extend_from_slice(&content);
        add("avif of nothing", file);
    }
    for size in [[0xff; 8], [0, 0, 0x1b, 0x58, 0, 0, 0x1b, 0x58]] {
        let mut file = super::avif::plain();
        let place = file
            .windows(4)
            .position(|window| window == b"ispe")
            .unwrap();
        file[place + 8..place + 16].copy_from_slice(&size);
        add("avif that says another size", file);
    }
}
