//! Sample images made offline from programs of this machine's Debian packages. Layers are not
//! compressed, so that a text of theirs would be found wherever they lay unencrypted.

mod apocryphd;
mod clock;
mod nginx;
mod page;
mod pair;
mod program;
mod redis;

pub use apocryphd::apocryphd;
pub use clock::clock;
pub use nginx::{nginx, silent_nginx};
pub use page::page;
pub use pair::{back, front};
pub use program::ProgramError;
pub(crate) use program::with_own_program;
pub use redis::redis;
