use crate::{args::Manifest, failure::Failure, printer::Printer};

pub(super) fn run(command: &Manifest, printer: &Printer) -> Result<(), Failure> {
    match command {
        Manifest::Schema => printer.raw(&apocryph_manifest::schema()),
    }
}
