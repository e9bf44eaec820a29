use std::ops::Range;

use image::metadata::Orientation;

use super::super::super::error::ImageError;
use super::super::super::sniff::Reader;
use super::super::{EXIF_BYTES_MAX, bad, unsupported};
use super::planes::Coding;

/// Things in a file: tiles, thumbnails, metadata. A file with more is not one for the web.
const ITEMS_MAX: usize = 256;
/// Boxes beside each other.
const BOXES_MAX: usize = 1024;
/// Parts that a thing may be scattered in.
const EXTENTS_MAX: usize = 64;

/// A still picture in its container (ISO/IEC 14496-12, 23008-12; AV1 Image File Format 1.1).
pub(in super::super) struct Container<'a> {
    pub(super) size: (u32, u32),
    pub(super) colour: Vec<u8>,
    pub(super) alpha: Option<Vec<u8>>,
    pub(super) coding: Option<Coding>,
    pub(super) profile: Option<&'a [u8]>,
    pub(super) orientation: Option<Orientation>,
    pub(super) exif: Option<Vec<u8>>,
}

#[derive(Default)]
struct Meta<'a> {
    primary: Option<u32>,
    /// Number and kind.
    items: Vec<(u32, [u8; 4])>,
    places: Vec<Place>,
    /// Kind, from, to.
    references: Vec<([u8; 4], u32, u32)>,
    properties: Vec<([u8; 4], &'a [u8])>,
    /// Item, property counted from 1, and whether it must be understood.
    associations: Vec<(u32, u16, bool)>,
    inside: &'a [u8],
}

struct Place {
    item: u32,
    is_inside: bool,
    extents: Vec<(u64, u64)>,
}

pub(super) fn read(source: &[u8]) -> Result<Container<'_>, ImageError> {
    let meta = boxes(source)
        .find(|(kind, _)| kind == b"meta")
        .and_then(|(_, content)| meta_of(content))
        .ok_or_else(|| bad("its container cannot be read"))?;
    let primary = meta.primary.ok_or_else(|| bad("it names no picture"))?;
    match meta.kind_of(primary) {
        Some(b"av01") => {}
        Some(b"grid") => return Err(unsupported("an AVIF of tiles")),
        _ => return Err(unsupported("a container without a picture in AV1")),
    }
    let mut container = Container {
        size: (0, 0),
        colour: meta.data(source, primary)?,
        alpha: None,
        coding: None,
        profile: None,
        orientation: None,
        exif: None,
    };
    let mut turn = (0, None);
    for (kind, content, is_essential) in meta.properties_of(primary) {
        describe(&mut container, &mut turn, (kind, content), is_essential)?;
    }
    container.orientation = orientation(turn);
    if container.size.0 == 0 || container.size.1 == 0 {
        return Err(bad("it does not say its size"));
    }
    if let Some(alpha) = meta.alpha_of(primary) {
        if meta.kind_of(alpha) != Some(b"av01") {
            return Err(unsupported("an AVIF of tiles"));
        }
        if meta.references.iter().any(|(kind, ..)| kind == b"prem") {
            return Err(unsupported("an AVIF with premultiplied alpha"));
        }
        container.alpha = Some(meta.data(source, alpha)?);
    }
    container.exif = meta.exif_of(primary, source);
    Ok(container)
}

/// Takes one property of the picture into account.
fn describe<'a>(
    container: &mut Container<'a>,
    turn: &mut (u8, Option<u8>),
    (kind, content): ([u8; 4], &'a [u8]),
    is_essential: bool,
) -> Result<(), ImageError> {
    match (&kind, content) {
        (b"ispe", [_, _, _, _, size @ ..]) => {
            let mut reader = Reader(size);
            let mut side = || reader.array().map_or(0, u32::from_be_bytes);
            container.size = (side(), side());
        }
        (b"colr", [b'n', b'c', b'l', b'x', nclx @ ..]) => container.coding = Some(coding(nclx)?),
        (b"colr", [b'p', b'r', b'o', b'f', icc @ ..] | [b'r', b'I', b'C', b'C', icc @ ..]) => {
            container.profile = Some(icc);
        }
        (b"irot", [angle, ..]) => turn.0 = angle & 3,
        (b"imir", [axis, ..]) => turn.1 = Some(axis & 1),
        (b"av1C" | b"pixi" | b"pasp" | b"auxC" | b"ispe" | b"colr", _) => {}
        (b"clap", _) => return Err(unsupported("an AVIF that is cut by its container")),
        _ if is_essential => return Err(unsupported("an AVIF with an unknown property")),
        _ => {}
    }
    Ok(())
}

fn coding(nclx: &[u8]) -> Result<Coding, ImageError> {
    let mut reader = Reader(nclx);
    let mut code = || {
        let code = reader.array().map(u16::from_be_bytes)?;
        u8::try_from(code).ok()
    };
    let (Some(primaries), Some(transfer), Some(matrix)) = (code(), code(), code()) else {
        return Err(unsupported("an AVIF of unusual colours"));
    };
    Ok(Coding {
        primaries,
        transfer,
        matrix,
        is_full: reader.byte().is_some_and(|flags| flags & 0x80 != 0),
    })
}

/// Quarters against the clock, then a mirror whose axis lies (0) or stands (1), as EXIF counts them.
fn orientation((quarters, mirror): (u8, Option<u8>)) -> Option<Orientation> {
    let number = match (quarters, mirror) {
        (0, None) => return None,
        (1, None) => 8,
        (2, None) => 3,
        (_, None) => 6,
        (0, Some(0)) | (2, Some(1)) => 4,
        (0, Some(_)) | (2, Some(_)) => 2,
        (1, Some(0)) | (3, Some(1)) => 5,
        (_, Some(_)) => 7,
    };
    Orientation::from_exif(number)
}

/// Exif or XMP in a file.
pub(in super::super::super) struct AvifMetadata {
    pub(in super::super::super) is_exif: bool,
    /// Parts of the file, in their order.
    pub(in super::super::super) places: Vec<Range<usize>>,
}

/// What a file says besides its picture; `None` if its places are not all known.
pub(in super::super::super) fn avif_metadata(source: &[u8]) -> Option<Vec<AvifMetadata>> {
    let (_, content) = boxes(source).find(|(kind, _)| kind == b"meta")?;
    let meta = meta_of(content)?;
    let told = meta.items.iter();
    let told = told.filter(|(_, kind)| matches!(kind, b"Exif" | b"mime"));
    told.map(|(item, kind)| {
        Some(AvifMetadata {
            is_exif: kind == b"Exif",
            places: meta.places_of(source, *item)?,
        })
    })
    .collect()
}

impl<'a> Meta<'a> {
    fn kind_of(&self, item: u32) -> Option<&[u8; 4]> {
        let found = self.items.iter().find(|(number, _)| *number == item);
        found.map(|(_, kind)| kind)
    }

    fn properties_of(&self, item: u32) -> impl Iterator<Item = ([u8; 4], &'a [u8], bool)> {
        let mine = self.associations.iter().filter(move |(of, ..)| *of == item);
        mine.filter_map(|(_, index, is_essential)| {
            let index = usize::from(*index).checked_sub(1)?;
            let (kind, content) = self.properties.get(index)?;
            Some((*kind, *content, *is_essential))
        })
    }

    fn alpha_of(&self, item: u32) -> Option<u32> {
        const NAMES: [&[u8]; 2] = [
            b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0",
            b"urn:mpeg:hevc:2015:auxid:1\0",
        ];
        let is_alpha = |item: u32| {
            let named = |content: &[u8]| NAMES.iter().any(|name| content.starts_with(name));
            self.properties_of(item)
                .any(|(kind, content, _)| &kind == b"auxC" && content.get(4..).is_some_and(named))
        };
        self.references
            .iter()
            .find(|(kind, from, to)| kind == b"auxl" && *to == item && is_alpha(*from))
            .map(|(_, from, _)| *from)
    }

    /// Without the offset that stands before it (23008-12 annex A.2.1).
    fn exif_of(&self, item: u32, source: &[u8]) -> Option<Vec<u8>> {
        let (_, exif, _) = self.references.iter().find(|(kind, from, to)| {
            kind == b"cdsc" && *to == item && self.kind_of(*from) == Some(b"Exif")
        })?;
        let data = self.data(source, *exif).ok()?;
        let (offset, rest) = data.split_first_chunk::<4>()?;
        let offset = usize::try_from(u32::from_be_bytes(*offset)).ok()?;
        let exif = rest.get(offset..)?;
        (exif.len() <= EXIF_BYTES_MAX).then(|| exif.to_vec())
    }

    fn places_of(&self, source: &[u8], item: u32) -> Option<Vec<Range<usize>>> {
        let place = self.places.iter().find(|place| place.item == item)?;
        let (start, end) = if place.is_inside {
            let start = self.inside.as_ptr().addr() - source.as_ptr().addr();
            (start, start + self.inside.len())
        } else {
            (0, source.len())
        };
        let extents = place.extents.iter().map(|(offset, length)| {
            let from = start.checked_add(usize::try_from(*offset).ok()?)?;
            let to = match usize::try_from(*length).ok()? {
                0 => end,
                length => from.checked_add(length)?,
            };
            (from <= to && to <= end).then_some(from..to)
        });
        extents.collect()
    }

    /// All parts of a thing. Each byte of the source counts once, or the parts could add up to anything.
    fn data(&self, source: &[u8], item: u32) -> Result<Vec<u8>, ImageError> {
        let cut = || bad("a part of it is missing");
        let place = self.places.iter().find(|place| place.item == item);
        let place = place.ok_or_else(cut)?;
        let from = if place.is_inside { self.inside } else { source };
        let mut data = Vec::new();
        for (offset, length) in &place.extents {
            let start = usize::try_from(*offset).map_err(bad)?;
            let rest = from.get(start..).ok_or_else(cut)?;
            let part = match usize::try_from(*length).map_err(bad)? {
                0 => rest,
                length => rest.get(..length).ok_or_else(cut)?,
            };
            if data.len() + part.len() > source.len() {
                return Err(cut());
            }
            data.extend_from_slice(part);
        }
        Ok(data)
    }
}

/// The boxes in a box, as far as they can be read.
fn boxes(content: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut reader = Reader(content);
    std::iter::from_fn(move || next_box(&mut reader)).take(BOXES_MAX)
}

fn next_box<'a>(reader: &mut Reader<'a>) -> Option<([u8; 4], &'a [u8])> {
    let length = u32::from_be_bytes(reader.array()?);
    let kind = reader.array()?;
    let content = match length {
        0 => reader.0.len(),
        1 => {
            let length = usize::try_from(u64::from_be_bytes(reader.array()?)).ok()?;
            length.checked_sub(16)?
        }
        _ => usize::try_from(length).ok()?.checked_sub(8)?,
    };
    // What is cut short is given as far as it goes; whoever needs the rest will miss it.
    Some((kind, reader.take(content.min(reader.0.len()))?))
}

fn meta_of(content: &[u8]) -> Option<Meta<'_>> {
    let mut meta = Meta::default();
    for (kind, content) in boxes(content.get(4..)?) {
        match &kind {
            b"pitm" => {
                let mut fields = Fields::full(content)?;
                meta.primary = Some(fields.number_by_version(1)?);
            }
            b"iinf" => meta.items = items(content)?,
            b"iloc" => meta.places = places(content)?,
            b"iref" => meta.references = references(content)?,
            b"iprp" => properties(content, &mut meta)?,
            b"idat" => meta.inside = content,
            _ => {}
        }
    }
    Some(meta)
}

/// A reader that knows its box's version.
struct Fields<'a> {
    reader: Reader<'a>,
    version: u8,
    flags: u8,
}

impl<'a> Fields<'a> {
    fn full(content: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(content);
        let [version, _, _, flags] = reader.array()?;
        Some(Self {
            reader,
            version,
            flags,
        })
    }

    fn u16(&mut self) -> Option<u16> {
        self.reader.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.reader.array().map(u32::from_be_bytes)
    }

    /// Two bytes, and four from this version on.
    fn number_by_version(&mut self, wide_from: u8) -> Option<u32> {
        if self.version < wide_from {
            self.u16().map(u32::from)
        } else {
            self.u32()
        }
    }

    /// As many bytes as said: 0, 4 or 8.
    fn sized(&mut self, bytes: u8) -> Option<u64> {
        match bytes {
            0 => Some(0),
            4 => self.u32().map(u64::from),
            8 => self.reader.array().map(u64::from_be_bytes),
            _ => None,
        }
    }
}

fn items(content: &[u8]) -> Option<Vec<(u32, [u8; 4])>> {
    let mut fields = Fields::full(content)?;
    let _count = fields.number_by_version(1)?;
    let entries = boxes(fields.reader.0).take(ITEMS_MAX);
    let entry = |(kind, content): ([u8; 4], &[u8])| {
        let mut fields = Fields::full(content)?;
        if &kind != b"infe" || fields.version < 2 {
            return None;
        }
        let number = fields.number_by_version(3)?;
        let _protection = fields.u16()?;
        Some((number, fields.reader.array()?))
    };
    Some(entries.filter_map(entry).collect())
}

fn places(content: &[u8]) -> Option<Vec<Place>> {
    let mut fields = Fields::full(content)?;
    let [sizes, more] = fields.reader.array()?;
    let (offset_size, length_size, base_size) = (sizes >> 4, sizes & 15, more >> 4);
    let index_size = if fields.version > 0 { more & 15 } else { 0 };
    let count = fields.number_by_version(2)?;
    let mut places = Vec::new();
    for _ in 0..usize::try_from(count).ok()?.min(ITEMS_MAX) {
        let item = fields.number_by_version(2)?;
        let method = if fields.version > 0 {
            fields.u16()? & 15
        } else {
            0
        };
        let reference = fields.u16()?;
        let base = fields.sized(base_size)?;
        let mut extents = Vec::new();
        for n in 0..fields.u16()? {
            let _index = fields.sized(index_size)?;
            let offset = base.checked_add(fields.sized(offset_size)?)?;
            let length = fields.sized(length_size)?;
            if usize::from(n) < EXTENTS_MAX {
                extents.push((offset, length));
            }
        }
        // Bytes of this file, or of the box beside; nothing else is read.
        if method <= 1 && reference == 0 && extents.len() < EXTENTS_MAX {
            places.push(Place {
                item,
                is_inside: method == 1,
                extents,
            });
        }
    }
    Some(places)
}

fn references(content: &[u8]) -> Option<Vec<([u8; 4], u32, u32)>> {
    let fields = Fields::full(content)?;
    let mut references = Vec::new();
    for (kind, content) in boxes(fields.reader.0) {
        let mut one = Fields {
            reader: Reader(content),
            version: fields.version,
            flags: 0,
        };
        let from = one.number_by_version(1)?;
        for _ in 0..one.u16()? {
            let to = one.number_by_version(1)?;
            if references.len() < ITEMS_MAX {
                references.push((kind, from, to));
            }
        }
    }
    Some(references)
}

fn properties<'a>(content: &'a [u8], meta: &mut Meta<'a>) -> Option<()> {
    for (kind, content) in boxes(content) {
        match &kind {
            b"ipco" => meta.properties = boxes(content).collect(),
            b"ipma" => associations(content, &mut meta.associations)?,
            _ => {}
        }
    }
    Some(())
}

fn associations(content: &[u8], into: &mut Vec<(u32, u16, bool)>) -> Option<()> {
    let mut fields = Fields::full(content)?;
    let is_wide = fields.flags & 1 != 0;
    for _ in 0..usize::try_from(fields.u32()?).ok()?.min(ITEMS_MAX) {
        let item = fields.number_by_version(1)?;
        for _ in 0..fields.reader.byte()? {
            let (index, is_essential) = if is_wide {
                let word = fields.u16()?;
                (word & 0x7fff, word & 0x8000 != 0)
            } else {
                let byte = fields.reader.byte()?;
                (u16::from(byte & 0x7f), byte & 0x80 != 0)
            };
            if into.len() < BOXES_MAX {
                into.push((item, index, is_essential));
            }
        }
    }
    Some(())
}
