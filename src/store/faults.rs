//! A device that fails on command, between the tier and its files.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::device::Device;
use super::slot::Wrap;

/// What happens to each read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The system says no.
    Error(i32),
    /// A part is transferred, then the system says no.
    Part,
    /// A bit is another one afterwards.
    Flip,
    /// Nothing happens, and the system says yes.
    Lost,
    /// It takes a while.
    Slow(Duration),
    /// It does not return until the fault is lifted.
    Hang,
}

pub(super) const EIO: Fault = Fault::Error(5);
pub(super) const ENOSPC: Fault = Fault::Error(28);
pub(super) const EROFS: Fault = Fault::Error(30);

/// The faults of one device; shared with the test that sets them.
#[derive(Debug, Default)]
pub(super) struct Faults {
    now: Mutex<Now>,
    lifted: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Now {
    reads: Option<Fault>,
    writes: Option<Fault>,
    /// Nothing is read without waiting, as after the system needed its memory.
    cold: bool,
}

impl Faults {
    pub(super) fn reads(&self, fault: impl Into<Option<Fault>>) {
        self.now.lock().reads = fault.into();
        self.lifted.notify_all();
    }

    pub(super) fn writes(&self, fault: impl Into<Option<Fault>>) {
        self.now.lock().writes = fault.into();
        self.lifted.notify_all();
    }

    pub(super) fn cold(&self, cold: bool) {
        self.now.lock().cold = cold;
    }

    /// Puts these faults under a tier.
    pub(super) fn wrap(self: &Arc<Self>) -> Wrap {
        let faults = Arc::clone(self);
        Arc::new(move |device| {
            let faults = Arc::clone(&faults);
            Arc::new(FaultyDevice { device, faults })
        })
    }

    fn wait_while(&self, hangs: impl Fn(&Now) -> bool) {
        let mut now = self.now.lock();
        while hangs(&now) {
            self.lifted.wait(&mut now);
        }
    }
}

struct FaultyDevice {
    device: Arc<dyn Device>,
    faults: Arc<Faults>,
}

impl Device for FaultyDevice {
    fn read_now(&self, block: u32, offset: u64, into: &mut [u8]) -> io::Result<bool> {
        let now = *self.faults.now.lock();
        match now.reads {
            _ if now.cold => Ok(false),
            None => self.device.read_now(block, offset, into),
            Some(Fault::Slow(_) | Fault::Hang) => Ok(false),
            Some(_) => self.read(block, offset, into).map(|()| true),
        }
    }

    fn read(&self, block: u32, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let fault = self.faults.now.lock().reads;
        match fault {
            None => {}
            Some(Fault::Error(code)) => return Err(io::Error::from_raw_os_error(code)),
            Some(Fault::Part) => {
                let half = into.len() / 2;
                self.device.read(block, offset, &mut into[..half])?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Some(Fault::Flip) => {
                self.device.read(block, offset, into)?;
                let place = into.len() * 2 / 3;
                into[place] ^= 4;
                return Ok(());
            }
            Some(Fault::Lost) => {
                into.fill(0);
                return Ok(());
            }
            Some(Fault::Slow(time)) => std::thread::sleep(time),
            Some(Fault::Hang) => self.faults.wait_while(|now| now.reads == Some(Fault::Hang)),
        }
        self.device.read(block, offset, into)
    }

    fn write(&self, block: u32, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let fault = self.faults.now.lock().writes;
        match fault {
            None => {}
            Some(Fault::Error(code)) => return Err(io::Error::from_raw_os_error(code)),
            Some(Fault::Part) => {
                let whole = parts.concat();
                let half = &whole[..whole.len() / 2];
                self.device.write(block, offset, &[half])?;
                return Err(io::Error::from_raw_os_error(5));
            }
            Some(Fault::Flip) => {
                let mut whole = parts.concat();
                let place = whole.len() * 2 / 3;
                whole[place] ^= 4;
                return self.device.write(block, offset, &[&whole]);
            }
            Some(Fault::Lost) => return Ok(()),
            Some(Fault::Slow(time)) => std::thread::sleep(time),
            Some(Fault::Hang) => self
                .faults
                .wait_while(|now| now.writes == Some(Fault::Hang)),
        }
        self.device.write(block, offset, parts)
    }
}
