use std::fs::File;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use super::find::{Stamp, unreadable};
use crate::origin::OriginError;

/// What is read at a time.
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// The body of a large file, or of a large part of one.
#[derive(Debug)]
pub(in crate::origin) struct FileBody {
    file: tokio::fs::File,
    /// Read and not handed out yet: kept here, so that a dropped call loses nothing.
    piece: BytesMut,
    left: u64,
    received: u64,
    stamp: Stamp,
    name: Arc<str>,
}

impl FileBody {
    pub(super) fn new(file: File, length: u64, stamp: Stamp, name: Arc<str>) -> Self {
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(PIECE_BYTES);
        Self {
            file,
            piece: BytesMut::new(),
            left: length,
            received: 0,
            stamp,
            name,
        }
    }

    pub(in crate::origin) async fn chunk(&mut self) -> Result<Option<Bytes>, OriginError> {
        if self.piece.is_empty() {
            if self.left == 0 {
                return Ok(None);
            }
            let most = usize::try_from(self.left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            self.piece.reserve(most);
            let mut room = (&mut self.piece).limit(most);
            let read = self.file.read_buf(&mut room).await.map_err(unreadable)?;
            if read == 0 {
                return Err(OriginError::Truncated {
                    server: Arc::clone(&self.name),
                    received: self.received,
                });
            }
            let read = u64::try_from(read).unwrap_or(u64::MAX);
            self.left = self.left.saturating_sub(read);
            self.received = self.received.saturating_add(read);
        }
        // Before the last piece is out, for then it would be too late: a file that was written to meanwhile has
        // given parts of two versions.
        if self.left == 0 {
            let about = self.file.metadata().await.map_err(unreadable)?;
            let modified = about.modified().map_err(unreadable)?;
            if about.len() != self.stamp.length || modified != self.stamp.modified {
                return Err(OriginError::Changed);
            }
        }
        Ok(Some(self.piece.split().freeze()))
    }
}
