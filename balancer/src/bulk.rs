//! Bulk without copies: pipes through which the kernel moves bytes from socket to socket.
//!
//! Only for a direction that just filled a whole scratch buffer: for small messages two calls of
//! `splice` cost more than a read and a write. Pipes are bounded over the whole process and shared;
//! a relay that gets none copies as before. A pipe goes back only when it is empty, so nobody ever
//! meets another's bytes; one that is dropped with bytes in it is closed. Linux only.

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Pipe;
#[cfg(target_os = "linux")]
pub(crate) use linux::Pipe;

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fd::OwnedFd;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    /// Pipes at the same time: their 192 descriptors fit what the limit on clients leaves over.
    const PIPES_MAX: usize = 96;
    /// What a pipe should hold; all of them fit what the system lets one user have.
    const PIPE_BYTES: usize = 256 * 1024;
    /// A system that gives less than this per pipe is one where copying is no dearer.
    const PIPE_BYTES_MIN: usize = 64 * 1024;

    static PIPES: AtomicUsize = AtomicUsize::new(0);
    static EMPTY: Mutex<Vec<Ends>> = Mutex::new(Vec::new());

    /// Both ends of an empty pipe; counted.
    #[derive(Debug)]
    struct Ends {
        reading: OwnedFd,
        writing: OwnedFd,
        capacity: usize,
    }

    impl Drop for Ends {
        fn drop(&mut self) {
            PIPES.fetch_sub(1, Ordering::AcqRel);
        }
    }

    impl Ends {
        fn make() -> Option<Self> {
            if PIPES.fetch_add(1, Ordering::AcqRel) >= PIPES_MAX {
                PIPES.fetch_sub(1, Ordering::AcqRel);
                return None;
            }
            let made = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
            let Ok((reading, writing)) = made else {
                PIPES.fetch_sub(1, Ordering::AcqRel);
                return None;
            };
            // A user who has many pipes gets tiny ones.
            let sized = fcntl_setpipe_size(&writing, PIPE_BYTES);
            let capacity = sized.unwrap_or(0);
            let ends = Self {
                reading,
                writing,
                capacity,
            };
            (capacity >= PIPE_BYTES_MIN).then_some(ends)
        }
    }

    /// A pipe in use by one direction.
    #[derive(Debug)]
    pub(crate) struct Pipe {
        /// Gone only while the pipe itself goes.
        ends: Option<Ends>,
        filled: usize,
    }

    impl Pipe {
        /// An empty pipe, unless all are in use.
        pub(crate) fn take() -> Option<Self> {
            let waiting = EMPTY.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let ends = waiting.or_else(Ends::make);
            ends.map(|ends| Self {
                ends: Some(ends),
                filled: 0,
            })
        }

        /// Whether bytes wait in it.
        pub(crate) fn is_empty(&self) -> bool {
            self.filled == 0
        }

        /// Moves what a socket has into the pipe, which must be empty: as it is, `WouldBlock` speaks
        /// of the socket. 0 is the socket's end.
        pub(crate) fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
            let Some(ends) = self.ends.as_ref().filter(|_| self.filled == 0) else {
                return Err(io::ErrorKind::ResourceBusy.into());
            };
            let count = from.try_io(Interest::READABLE, || {
                let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
                Ok(splice(
                    from,
                    None,
                    &ends.writing,
                    None,
                    ends.capacity,
                    flags,
                )?)
            })?;
            self.filled = count;
            Ok(count)
        }

        /// Moves what is in the pipe to a socket, as far as that takes it.
        pub(crate) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
            let Some(ends) = &self.ends else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            let count = to.try_io(Interest::WRITABLE, || {
                // Never MORE: it would hold back what people wait for.
                let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
                Ok(splice(&ends.reading, None, to, None, self.filled, flags)?)
            })?;
            self.filled = self.filled.saturating_sub(count);
            Ok(count)
        }
    }

    impl Drop for Pipe {
        fn drop(&mut self) {
            if let Some(ends) = self.ends.take()
                && self.filled == 0
            {
                let mut empty = EMPTY.lock().unwrap_or_else(PoisonError::into_inner);
                // No more than were made.
                empty.push(ends);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::convert::Infallible;
    use std::io;
    use tokio::net::TcpStream;

    /// There are none here.
    #[derive(Debug)]
    pub(crate) struct Pipe(Infallible);

    impl Pipe {
        pub(crate) fn take() -> Option<Self> {
            None
        }

        pub(crate) fn is_empty(&self) -> bool {
            match self.0 {}
        }

        pub(crate) fn fill(&mut self, _from: &TcpStream) -> io::Result<usize> {
            match self.0 {}
        }

        pub(crate) fn drain(&mut self, _to: &TcpStream) -> io::Result<usize> {
            match self.0 {}
        }
    }
}
