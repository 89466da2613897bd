//! See the library.

fn main() -> std::process::ExitCode {
    cleat_overlay::main()
}
