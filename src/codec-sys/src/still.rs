use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_uint};
use std::fmt;

/// How the planes are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One plane.
    Grey,
    /// Three planes, colour at half the size both ways (rounded up).
    Halved,
    /// Three planes of one size.
    Full,
}

/// The samples of one plane, row by row without gaps.
#[derive(Debug, Clone, Copy)]
pub enum Plane<'a> {
    /// Eight bits a sample.
    Bytes(&'a [u8]),
    /// Ten bits a sample.
    Words(&'a [u16]),
}

/// One option of the encoder, by the name that libaom's documentation gives it. Of the values the first
/// is taken that the linked version knows.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// As in `aomenc --help`, without dashes.
    pub name: &'a str,
    /// At most three are looked at.
    pub values: &'a [&'a str],
}

/// One picture to encode: sRGB as BT.601 luma and chroma, full range.
#[derive(Debug, Clone, Copy)]
pub struct Still<'a> {
    /// Pixels in a row, at most 65 536.
    pub width: u32,
    /// Rows, at most 65 536.
    pub height: u32,
    /// Which planes there are.
    pub layout: Layout,
    /// 0 (best) to 63.
    pub quantizer: u8,
    /// One or three, all of one depth.
    pub planes: &'a [Plane<'a>],
    /// Applied in this order.
    pub settings: &'a [Setting<'a>],
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StillError {
    /// The planes do not fit the size and layout, or a setting is no text for C.
    Input,
    /// libaom's words.
    Encoder(String),
}

impl fmt::Display for StillError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => out.write_str("planes and size do not fit"),
            Self::Encoder(detail) => write!(out, "libaom: {detail}"),
        }
    }
}

impl std::error::Error for StillError {}

const SIDE_MAX: u32 = 65_536;
const VALUES_MAX: usize = 3;

#[repr(C)]
#[derive(Clone, Copy)]
struct RawPlane {
    samples: *const c_uchar,
    bytes_per_row: c_int,
}

#[repr(C)]
struct RawSetting {
    name: *const c_char,
    values: [*const c_char; VALUES_MAX],
}

#[repr(C)]
struct RawRequest {
    width: c_uint,
    height: c_uint,
    layout: c_int,
    bits: c_int,
    quantizer: c_int,
    planes: [RawPlane; 3],
    settings: *const RawSetting,
    settings_count: usize,
}

unsafe extern "C" {
    fn brim_still_encode(
        request: *const RawRequest,
        file: *mut *mut c_uchar,
        file_size: *mut usize,
        detail: *mut c_char,
        detail_size: usize,
    ) -> c_int;
    fn brim_still_free(file: *mut c_uchar);
}

impl Still<'_> {
    /// Encodes on this thread and returns the picture's AV1 data (a temporal unit of OBUs).
    ///
    /// # Errors
    ///
    /// When the parts do not fit each other, or libaom refuses.
    pub fn encode(&self) -> Result<Vec<u8>, StillError> {
        let (planes, bits) = self.raw_planes()?;
        let texts = Texts::of(self.settings)?;
        let settings = texts.raw();
        let request = RawRequest {
            width: self.width,
            height: self.height,
            layout: match self.layout {
                Layout::Grey => 0,
                Layout::Halved => 1,
                Layout::Full => 2,
            },
            bits,
            quantizer: c_int::from(self.quantizer.min(63)),
            planes,
            settings: settings.as_ptr(),
            settings_count: settings.len(),
        };
        let mut file = std::ptr::null_mut();
        let mut file_size = 0;
        let mut detail: [c_char; 200] = [0; 200];
        // SAFETY: `request` and all that it points to (planes checked against the size above, texts ended
        // by zero) live until after the call, which writes nothing there; the results have room.
        let result = unsafe {
            brim_still_encode(
                &raw const request,
                &raw mut file,
                &raw mut file_size,
                detail.as_mut_ptr(),
                detail.len(),
            )
        };
        if result != 0 || file.is_null() {
            // SAFETY: `snprintf` ends its text by zero within the size given; unwritten, it is all zeros.
            let detail = unsafe { CStr::from_ptr(detail.as_ptr()) };
            return Err(StillError::Encoder(detail.to_string_lossy().into_owned()));
        }
        // SAFETY: a result of 0 gives `file_size` bytes at `file`, ours until they are freed.
        let copy = unsafe { std::slice::from_raw_parts(file, file_size) }.to_vec();
        // SAFETY: `file` came from the call above and is not used any more.
        unsafe { brim_still_free(file) };
        Ok(copy)
    }

    /// The planes as C sees them and the bits of a sample; each is as large as C will read.
    fn raw_planes(&self) -> Result<([RawPlane; 3], c_int), StillError> {
        let is_within = |side: u32| (1..=SIDE_MAX).contains(&side);
        if !is_within(self.width) || !is_within(self.height) {
            return Err(StillError::Input);
        }
        let halved = (self.width.div_ceil(2), self.height.div_ceil(2));
        let full = (self.width, self.height);
        let sizes: &[(u32, u32)] = match self.layout {
            Layout::Grey => &[full],
            Layout::Halved => &[full, halved, halved],
            Layout::Full => &[full, full, full],
        };
        if self.planes.len() != sizes.len() {
            return Err(StillError::Input);
        }
        let nothing = RawPlane {
            samples: std::ptr::null(),
            bytes_per_row: 0,
        };
        let mut planes = [nothing; 3];
        let mut bits = None;
        for ((raw, plane), (width, height)) in planes.iter_mut().zip(self.planes).zip(sizes) {
            let (samples, count, width_of_sample, bits_of_sample) = match plane {
                Plane::Bytes(samples) => (samples.as_ptr(), samples.len(), 1, 8),
                Plane::Words(samples) => (samples.as_ptr().cast(), samples.len(), 2, 10),
            };
            let is_whole = count as u64 == u64::from(*width) * u64::from(*height);
            if !is_whole || *bits.get_or_insert(bits_of_sample) != bits_of_sample {
                return Err(StillError::Input);
            }
            let bytes_per_row =
                c_int::try_from(*width).map_err(|_| StillError::Input)? * width_of_sample;
            *raw = RawPlane {
                samples,
                bytes_per_row,
            };
        }
        Ok((planes, bits.unwrap_or(8)))
    }
}

/// The settings as C's texts, which must outlive the pointers to them.
struct Texts(Vec<(CString, Vec<CString>)>);

impl Texts {
    fn of(settings: &[Setting<'_>]) -> Result<Self, StillError> {
        let text = |text: &str| CString::new(text).map_err(|_| StillError::Input);
        let one = |setting: &Setting<'_>| {
            let values = setting
                .values
                .iter()
                .take(VALUES_MAX)
                .map(|value| text(value));
            Ok((text(setting.name)?, values.collect::<Result<_, _>>()?))
        };
        Ok(Self(settings.iter().map(one).collect::<Result<_, _>>()?))
    }

    fn raw(&self) -> Vec<RawSetting> {
        let one = |(name, texts): &(CString, Vec<CString>)| {
            let mut values = [std::ptr::null(); VALUES_MAX];
            for (value, text) in values.iter_mut().zip(texts) {
                *value = text.as_ptr();
            }
            RawSetting {
                name: name.as_ptr(),
                values,
            }
        };
        self.0.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: Setting<'static> = Setting {
        name: "cpu-used",
        values: &["8"],
    };

    #[test]
    fn every_layout_and_depth_makes_a_picture() {
        let (bytes, words) = ([90_u8; 35], [400_u16; 35]);
        let (small_bytes, small_words) = ([128_u8; 12], [512_u16; 12]);
        for (layout, first, others) in [
            (Layout::Grey, Plane::Bytes(&bytes), None),
            (
                Layout::Halved,
                Plane::Bytes(&bytes),
                Some(Plane::Bytes(&small_bytes)),
            ),
            (
                Layout::Full,
                Plane::Bytes(&bytes),
                Some(Plane::Bytes(&bytes)),
            ),
            (
                Layout::Halved,
                Plane::Words(&words),
                Some(Plane::Words(&small_words)),
            ),
            (
                Layout::Full,
                Plane::Words(&words),
                Some(Plane::Words(&words)),
            ),
        ] {
            let planes: Vec<_> = [Some(first), others, others]
                .into_iter()
                .flatten()
                .collect();
            let still = Still {
                width: 7,
                height: 5,
                layout,
                quantizer: 20,
                planes: &planes,
                settings: &[SPEED],
            };
            let file = still.encode().unwrap();
            // A temporal delimiter is no part of an item in a file, but libaom writes one: type 2, with a size.
            assert_eq!(&file[..2], &[0x12, 0], "{layout:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_before_c_sees_it() {
        let plane = [Plane::Bytes(&[0; 15])];
        let still = Still {
            width: 4,
            height: 4,
            layout: Layout::Grey,
            quantizer: 20,
            planes: &plane,
            settings: &[],
        };
        assert_eq!(still.encode(), Err(StillError::Input));
        let mixed = [
            Plane::Bytes(&[0; 16]),
            Plane::Words(&[0; 16]),
            Plane::Words(&[0; 16]),
        ];
        let mixed = Still {
            layout: Layout::Full,
            planes: &mixed,
            ..still
        };
        assert_eq!(mixed.encode(), Err(StillError::Input));
        assert_eq!(Still { width: 0, ..still }.encode(), Err(StillError::Input));
    }

    #[test]
    fn the_first_known_value_is_taken() {
        let plane = [Plane::Bytes(&[0; 16])];
        let still = |values| Still {
            width: 4,
            height: 4,
            layout: Layout::Grey,
            quantizer: 20,
            planes: &plane,
            settings: values,
        };
        let known = [Setting {
            name: "tune",
            values: &["of-the-future", "ssim"],
        }];
        assert!(still(&known).encode().is_ok());
        let unknown = [Setting {
            name: "tune",
            values: &["of-the-future"],
        }];
        assert!(matches!(
            still(&unknown).encode(),
            Err(StillError::Encoder(_))
        ));
    }
}
