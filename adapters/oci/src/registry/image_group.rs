//! The number of a group that a pod's spec names, by the image's own `/etc/group` (group(5)).

use apocryph_model::Digest;

use super::image_error::ImageError;
use super::image_file::read_file;
use super::sealed_layer::SealedLayer;

/// The number of `group`, which may be one already. `layers` are the image's, from the bottom up.
pub(super) async fn number(image: Digest, layers: Vec<SealedLayer>, group: &str) -> Result<u32, ImageError> {
    if let Some(id) = id(group) {
        return Ok(id);
    }
    let read = tokio::task::spawn_blocking(move || read_file(layers, "etc/group")).await;
    let file = read.map_err(|problem| ImageError::Store { digest: image, problem: problem.into() })?;
    let file = file?.unwrap_or_default();
    let found = String::from_utf8_lossy(&file).lines().find_map(|line| id_of_line(line, group));
    found.ok_or_else(|| ImageError::Group(group.to_owned()))
}

fn id_of_line(line: &str, group: &str) -> Option<u32> {
    let mut fields = line.split(':');
    (fields.next()? == group).then(|| fields.nth(1).and_then(id)).flatten()
}

/// The highest id means "none" to the kernel.
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}
