//! Who a container runs as: `user[:group]`, names or numbers, looked up in the image's own
//! `/etc/passwd` and `/etc/group` (OCI Image Format, "Image Configuration", `User`).

use std::io::{self, Read as _};

use crate::rooted::Rooted;

/// The longest passwd or group file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most groups of one user.
const MAX_GROUPS: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    #[error("its image has no user {0:?}: use a number, or a name of its /etc/passwd")]
    User(String),
    #[error("its image has no group {0:?}: use a number, or a name of its /etc/group")]
    Group(String),
    #[error("its image's {file} cannot be read: {source}")]
    File { file: &'static str, source: io::Error },
}

/// Looks the user up in the image whose root is `root`; without one it is root.
pub(super) fn resolve(root: &Rooted, user: Option<&str>) -> Result<Identity, UserError> {
    let passwd = read(root, "etc/passwd")?;
    let group = read(root, "etc/group")?;
    identify(&passwd, &group, user.filter(|user| !user.is_empty()).unwrap_or("0"))
}

fn identify(passwd: &str, group: &str, user: &str) -> Result<Identity, UserError> {
    let (user, group_name) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let entry = passwd.lines().filter_map(PasswdEntry::parse);
    let by_name = |entry: &PasswdEntry<'_>| entry.name == user || Some(entry.uid) == id(user);
    let entry = entry.filter(by_name).max_by_key(|entry| entry.name == user);
    let uid = entry.as_ref().map(|entry| entry.uid).or(id(user));
    let uid = uid.ok_or_else(|| UserError::User(user.into()))?;
    let gid = match group_name {
        Some(name) => group_id(group, name)?,
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let groups = match (&entry, group_name) {
        (Some(entry), None) => groups_of(group, entry.name),
        _ => Vec::new(),
    };
    Ok(Identity { uid, gid, groups, home: entry.map(|entry| entry.home.to_owned()) })
}

/// A line of passwd(5).
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(Self { name, uid: id(uid)?, gid: id(gid)?, home })
    }
}

fn group_id(group: &str, name: &str) -> Result<u32, UserError> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1).and_then(id)).flatten()
    };
    group.lines().find_map(line).or(id(name)).ok_or_else(|| UserError::Group(name.into()))
}

/// By group(5), whose last field lists the members.
fn groups_of(group: &str, user: &str) -> Vec<u32> {
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members] = fields[..] else { return None };
        members.split(',').any(|member| member == user).then(|| id(gid)).flatten()
    };
    group.lines().filter_map(of).take(MAX_GROUPS).collect()
}

/// The highest id means "none" to the kernel.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// An image without the file has nobody in it.
fn read(root: &Rooted, file: &'static str) -> Result<String, UserError> {
    let failed = |source| UserError::File { file, source };
    let opened = match root.file(file.as_bytes()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(String::new());
        }
        opened => opened.map_err(failed)?,
    };
    if !opened.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    }
    let mut text = Vec::new();
    opened.take(MAX_FILE).read_to_end(&mut text).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nredis:x:101:102::/var/lib/redis:/bin/false\n";
    const GROUP: &str = "root:x:0:\nredis:x:102:\nssl:x:110:redis,other\n";

    #[test]
    fn names_and_numbers() {
        let identity = |user| identify(PASSWD, GROUP, user).unwrap();
        let redis = identity("redis");
        assert_eq!((redis.uid, redis.gid, redis.groups), (101, 102, vec![110]));
        assert_eq!(redis.home.as_deref(), Some("/var/lib/redis"));
        assert_eq!(identity("101").gid, 102);
        assert_eq!((identity("1000").uid, identity("1000").gid), (1000, 0));
        assert_eq!((identity("redis:ssl").gid, identity("7:8").gid), (110, 8));
        assert_eq!(identity("redis:0").groups, Vec::<u32>::new());
    }

    #[test]
    fn unknown_ones_are_named() {
        let text = |user| identify(PASSWD, GROUP, user).unwrap_err().to_string();
        assert!(text("nobody").contains("\"nobody\""));
        assert!(text("redis:wheel").contains("\"wheel\""));
        assert!(text("4294967295").contains("no user"));
        assert!(text("-1").contains("no user"));
    }

    proptest! {
        #[test]
        fn any_files_are_read(passwd in "[a-z0-9:\n]{0,60}", group in "[a-z0-9:,\n]{0,60}", user in "[a-z0-9:]{0,8}") {
            let _ = identify(&passwd, &group, &user);
        }
    }
}
