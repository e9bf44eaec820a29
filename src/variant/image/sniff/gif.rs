use super::Reel;
use super::reader::Reader;

/// Walks over the blocks without decoding them. A cut file counts as far as it goes.
pub(super) fn examine(bytes: &[u8]) -> Reel {
    let mut reel = Reel {
        frames: 0,
        // Without the extension a film is played once.
        repeats: 1,
    };
    let mut reader = Reader(bytes);
    let _whole = walk(&mut reader, &mut reel);
    reel.frames = reel.frames.max(1);
    reel
}

fn walk(reader: &mut Reader<'_>, reel: &mut Reel) -> Option<()> {
    skip_screen(reader)?;
    // Ends at the trailer, or with the bytes.
    loop {
        match reader.byte()? {
            0x21 => match reader.byte()? {
                0xff => application(reader, reel)?,
                _ => skip_blocks(reader)?,
            },
            0x2c => {
                skip_frame_head(reader)?;
                skip_blocks(reader)?;
                reel.frames = reel.frames.saturating_add(1);
            }
            _ => return Some(()),
        }
    }
}

/// The extension of Netscape 2.0 says how often the film is repeated after it has been shown once.
fn application(reader: &mut Reader<'_>, reel: &mut Reel) -> Option<()> {
    if let [11, name @ ..] = reader.0
        && (name.starts_with(b"NETSCAPE2.0") || name.starts_with(b"ANIMEXTS1.0"))
        && let Some([3, 1, low, high]) = name.get(11..15)
    {
        reel.repeats = match u16::from_le_bytes([*low, *high]) {
            0 => 0,
            again => again.saturating_add(1),
        };
    }
    skip_blocks(reader)
}

/// Signature, logical screen descriptor and global colours (GIF89a §17 to §19).
pub(in super::super) fn skip_screen(reader: &mut Reader<'_>) -> Option<()> {
    reader.take(10)?;
    let packed = reader.byte()?;
    reader.take(2)?;
    skip_table(reader, packed)
}

/// Place and size, local colours and the code size.
pub(in super::super) fn skip_frame_head(reader: &mut Reader<'_>) -> Option<()> {
    reader.take(8)?;
    let packed = reader.byte()?;
    skip_table(reader, packed)?;
    reader.byte().map(|_| ())
}

fn skip_table(reader: &mut Reader<'_>, packed: u8) -> Option<()> {
    let colours = if packed & 0x80 == 0 {
        0
    } else {
        2_u32 << (packed & 7)
    };
    reader.skip(colours * 3)
}

pub(in super::super) fn skip_blocks(reader: &mut Reader<'_>) -> Option<()> {
    // Ends at the empty block, or with the bytes.
    loop {
        match reader.byte()? {
            0 => return Some(()),
            length => reader.take(usize::from(length))?,
        };
    }
}
