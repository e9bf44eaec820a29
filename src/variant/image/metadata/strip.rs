use flate2::Crc;

use super::super::decode::{AvifMetadata, avif_metadata};
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
        SourceFormat::Avif => avif(source, keep),
        SourceFormat::Bmp | SourceFormat::Tiff => None,
    };
    // An end put to what had none is nothing dropped.
    stripped.filter(|stripped| !stripped.starts_with(source))
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
    // Ends with the picture. One that is cut short is shown as far as it goes, and so gets an end there.
    loop {
        let start = memchr::memchr(0xff, reader.0).unwrap_or(reader.0.len());
        file.extend_from_slice(reader.take(start)?);
        match reader.0.get(1) {
            // A coded 0xff, a restart, or fill bytes.
            Some(0x00 | 0xd0..=0xd7) => file.extend_from_slice(reader.take(2)?),
            Some(0xff) => file.extend_from_slice(reader.take(1)?),
            Some(0xd9) | None => break,
            Some(_) => match next_segment(&mut reader).ok()? {
                Some((0xe0..=0xef | 0xfe, _)) => {}
                Some((kind, segment)) => push_segment(file, kind, segment)?,
                None => break,
            },
        }
    }
    file.extend_from_slice(&[0xff, 0xd9]);
    Some(())
}

/// PNG, third edition §5 and §11.
fn png(source: &[u8], keep: Keep) -> Option<Vec<u8>> {
    let mut reader = Reader(source);
    let mut file = reader.take(8)?.to_vec();
    let mut is_over = false;
    // Ends with the picture, or with the bytes: decoders do not insist on its end.
    while !is_over {
        let before = reader.0;
        let Some((kind, content)) = next_png_chunk(&mut reader) else {
            push_chunk(&mut file, *b"IEND", &[])?;
            break;
        };
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
    let mut reader = Reader(reader.take(length.min(reader.0.len()))?);
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

/// Exif and XMP are written over where they lie, so that no other part of the file moves.
fn avif(source: &[u8], keep: Keep) -> Option<Vec<u8>> {
    let mut file = source.to_vec();
    for AvifMetadata { is_exif, places } in avif_metadata(source)? {
        let parts = places.iter().map(|place| source.get(place.clone()));
        let content = parts.collect::<Option<Vec<_>>>()?.concat();
        let mut other = if is_exif {
            exif_item(&content, keep)
        } else {
            Vec::new()
        };
        // Spaces are text that says nothing.
        other.resize(content.len(), if is_exif { 0 } else { b' ' });
        let mut rest = Reader(&other);
        for place in places {
            let part = rest.take(place.len())?;
            file.get_mut(place)?.copy_from_slice(part);
        }
    }
    Some(file)
}

/// As ISO/IEC 23008-12 annex A.2.1 has it, in no more bytes than before.
fn exif_item(item: &[u8], keep: Keep) -> Vec<u8> {
    const NOTHING: &[u8] = b"MM\0*\0\0\0\x08\0\0\0\0\0\0";
    let offset = item.first_chunk().map_or(0, |at| u32::from_be_bytes(*at));
    let start = usize::try_from(offset)
        .ok()
        .and_then(|at| at.checked_add(4));
    let exif = start.and_then(|start| item.get(start..));
    let kept = exif.and_then(|exif| exif::rebuilt(exif, keep, None));
    let fits = |exif: &[u8]| exif.len() + 4 <= item.len();
    let kept = kept.filter(|kept| fits(kept));
    match kept.as_deref() {
        Some(kept) => [&[0; 4], kept].concat(),
        None if fits(NOTHING) => [&[0; 4], NOTHING].concat(),
        None => Vec::new(),
    }
}
