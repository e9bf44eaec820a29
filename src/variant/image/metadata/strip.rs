use flate2::Crc;

use super::super::sniff::{
    Reader, SourceFormat, next_png_chunk, next_segment, next_webp_chunk, skip_blocks,
    skip_frame_head, skip_screen,
};
use super::{Keep, exif};

/// The same file, pixel by pixel and with its profile, without what the policy does not keep; also without what stands
/// behind its end. `None` when there is nothing to drop, when the format has no such metadata, or when the
/// file is not built as it should be.
pub(in super::super) fn strip(source: &[u8], format: SourceFormat, keep: Keep) -> Option<Vec<u8>> {
    let stripped = match format {
        SourceFormat::Jpeg => jpeg(source, keep),
        SourceFormat::Png => png(source, keep),
        SourceFormat::Webp => webp(source, keep),
        SourceFormat::Gif => gif(source),
        SourceFormat::Bmp | SourceFormat::Tiff | SourceFormat::Avif => None,
    };
    stripped.filter(|stripped| stripped != source)
}

/// What is kept of Exif when the pixels stay as they lie.
fn kept(exif: &[u8], keep: Keep) -> Option<Vec<u8>> {
    let turned = exif::orientation(exif).filter(|number| *number != 1);
    exif::rebuilt(exif, keep, turned)
}

const EXIF_NAME: &[u8] = b"Exif\0\0";

/// ITU-T T.81 annex B.
fn jpeg(source: &[u8], keep: Keep) -> Option<Vec<u8>> {
    let mut reader = Reader(source);
    let mut head = vec![0xff, 0xd8];
    let mut rest = Vec::new();
    let mut exif = None;
    let mut is_first = true;
    // Ends at the first scan; a file that ends before it is given up.
    loop {
        let (kind, segment) = next_segment(&mut reader).ok()??;
        match kind {
            0xd8 if is_first => {}
            // Nothing without a segment belongs here.
            0x01 | 0xd0..=0xd9 => return None,
            0xe0 if segment.starts_with(b"JFIF\0") => push_jfif(&mut head, segment)?,
            0xe1 if segment.starts_with(EXIF_NAME) => {
                exif = exif.or_else(|| segment.strip_prefix(EXIF_NAME));
            }
            // A profile, and what says how colours are to be understood.
            0xe2 if segment.starts_with(b"ICC_PROFILE\0") => {
                push_segment(&mut rest, kind, segment)?;
            }
            0xee if segment.starts_with(b"Adobe") => push_segment(&mut rest, kind, segment)?,
            0xe0..=0xef | 0xfe => {}
            _ => push_segment(&mut rest, kind, segment)?,
        }
        is_first = false;
        if kind == 0xda {
            break;
        }
    }
    if let Some(exif) = exif.and_then(|exif| kept(exif, keep)) {
        push_segment(&mut head, 0xe1, &[EXIF_NAME, &exif].concat())?;
    }
    head.extend_from_slice(&rest);
    scans(reader, &mut head)?;
    Some(head)
}

/// Without the thumbnail that it may hold.
fn push_jfif(file: &mut Vec<u8>, segment: &[u8]) -> Option<()> {
    let mut plain = segment.get(..14)?.to_vec();
    plain.get_mut(12..14)?.fill(0);
    push_segment(file, 0xe0, &plain)
}

fn push_segment(file: &mut Vec<u8>, kind: u8, content: &[u8]) -> Option<()> {
    let length = u16::try_from(content.len() + 2).ok()?;
    file.extend_from_slice(&[0xff, kind]);
    file.extend_from_slice(&length.to_be_bytes());
    file.extend_from_slice(content);
    Some(())
}

/// Coded data, tables and further scans as far as the end of the picture.
fn scans(mut reader: Reader<'_>, file: &mut Vec<u8>) -> Option<()> {
    // Ends with the picture; one that is cut short is given up.
    loop {
        let start = memchr::memchr(0xff, reader.0)?;
        file.extend_from_slice(reader.take(start)?);
        let after = reader.0.get(1)?;
        match after {
            // A coded 0xff, a restart, or fill bytes.
            0x00 | 0xd0..=0xd7 => file.extend_from_slice(reader.take(2)?),
            0xff => file.extend_from_slice(reader.take(1)?),
            0xd9 => {
                file.extend_from_slice(&[0xff, 0xd9]);
                return Some(());
            }
            _ => match next_segment(&mut reader).ok()?? {
                (0xe0..=0xef | 0xfe, _) => {}
                (kind, segment) => push_segment(file, kind, segment)?,
            },
        }
    }
}

/// PNG, third edition §5 and §11.
fn png(source: &[u8], keep: Keep) -> Option<Vec<u8>> {
    let mut reader = Reader(source);
    let mut file = reader.take(8)?.to_vec();
    let mut is_over = false;
    // Ends with the picture; one that is cut short is given up.
    while !is_over {
        let before = reader.0;
        let (kind, content) = next_png_chunk(&mut reader)?;
        let whole = before.get(..before.len() - reader.0.len())?;
        match &kind {
            b"IHDR" | b"PLTE" | b"IDAT" | b"IEND" | b"tRNS" | b"gAMA" | b"cHRM" | b"sRGB"
            | b"iCCP" | b"cICP" | b"mDCV" | b"cLLI" | b"sBIT" | b"bKGD" | b"hIST" | b"pHYs"
            | b"sPLT" | b"acTL" | b"fcTL" | b"fdAT" => file.extend_from_slice(whole),
            b"eXIf" => {
                if let Some(exif) = kept(content, keep) {
                    push_chunk(&mut file, kind, &exif)?;
                }
            }
            b"tEXt" | b"iTXt" if is_about_owner(content) && keep != Keep::None => {
                file.extend_from_slice(whole);
            }
            // What must be understood to show the picture and is not known here.
            [first, ..] if first.is_ascii_uppercase() => return None,
            _ => {}
        }
        is_over = &kind == b"IEND";
    }
    Some(file)
}

/// Keywords of PNG, third edition §11.3.3.2.
fn is_about_owner(content: &[u8]) -> bool {
    content.starts_with(b"Author\0") || content.starts_with(b"Copyright\0")
}

fn push_chunk(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) -> Option<()> {
    let mut checksum = Crc::new();
    checksum.update(&kind);
    checksum.update(content);
    file.extend_from_slice(&u32::try_from(content.len()).ok()?.to_be_bytes());
    file.extend_from_slice(&kind);
    file.extend_from_slice(content);
    file.extend_from_slice(&checksum.sum().to_be_bytes());
    Some(())
}

/// RFC 9649 §2.7.
fn webp(source: &[u8], keep: Keep) -> Option<Vec<u8>> {
    const HAS_EXIF: u8 = 0x08;
    const HAS_XMP: u8 = 0x04;
    let mut reader = Reader(source);
    let (mut file, length) = (reader.take(4)?.to_vec(), reader.array()?);
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    let mut reader = Reader(reader.take(length)?);
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(reader.take(4)?);
    let mut flags_at = None;
    let mut exif = None;
    // Ends with the bytes.
    while let Some((kind, content)) = next_webp_chunk(&mut reader) {
        match &kind {
            b"VP8X" => {
                flags_at = Some(file.len() + 8);
                push_riff(&mut file, kind, content)?;
            }
            b"ICCP" | b"ANIM" | b"ANMF" | b"ALPH" | b"VP8 " | b"VP8L" => {
                push_riff(&mut file, kind, content)?;
            }
            b"EXIF" => exif = kept(content, keep),
            _ => {}
        }
    }
    let flags = flags_at.and_then(|place| file.get_mut(place));
    match (&exif, flags) {
        (Some(_), Some(flags)) => *flags = (*flags | HAS_EXIF) & !HAS_XMP,
        (None, Some(flags)) => *flags &= !(HAS_EXIF | HAS_XMP),
        // Exif without the header that announces it.
        (Some(_), None) => return None,
        (None, None) => {}
    }
    if let Some(exif) = exif {
        push_riff(&mut file, *b"EXIF", &exif)?;
    }
    let length = u32::try_from(file.len() - 8).ok()?;
    file.get_mut(4..8)?.copy_from_slice(&length.to_le_bytes());
    Some(file)
}

fn push_riff(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) -> Option<()> {
    file.extend_from_slice(&kind);
    file.extend_from_slice(&u32::try_from(content.len()).ok()?.to_le_bytes());
    file.extend_from_slice(content);
    if content.len() % 2 == 1 {
        file.push(0);
    }
    Some(())
}

/// GIF89a: comments and applications' blocks, but for loops and profiles, are dropped.
fn gif(source: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(source);
    skip_screen(&mut reader)?;
    let mut file = source.get(..source.len() - reader.0.len())?.to_vec();
    // Ends at the trailer; a file that is cut short is given up.
    loop {
        let block = reader.0;
        let is_kept = match reader.byte()? {
            0x21 => {
                let label = reader.byte()?;
                let name = reader.0.get(1..12).unwrap_or_default();
                skip_blocks(&mut reader)?;
                match label {
                    0xfe => false,
                    0xff => matches!(name, b"NETSCAPE2.0" | b"ANIMEXTS1.0" | b"ICCRGBG1012"),
                    _ => true,
                }
            }
            0x2c => {
                skip_frame_head(&mut reader)?;
                skip_blocks(&mut reader)?;
                true
            }
            0x3b => {
                file.push(0x3b);
                return Some(file);
            }
            _ => return None,
        };
        if is_kept {
            file.extend_from_slice(block.get(..block.len() - reader.0.len())?);
        }
    }
}
