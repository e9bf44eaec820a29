use std::process::ExitCode;

/// What the shell gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: refused, for the configuration, the arguments or by the node.
    Refused,
    /// 2: a port, a file or a folder could not be had.
    CouldNotStart,
    /// 3: the drain deadline passed.
    DrainDeadline,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::CouldNotStart => 2,
            Self::DrainDeadline => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
