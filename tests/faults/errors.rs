//! The errors that each system call can return: no memory, no space, no descriptor, I/O error, no permission, interrupted,
//! busy, try again.

use nix::errno::Errno;
use nix::libc;
use sandbox::tracer::SystemCall;

/// The errors that are tried at a call; none for calls that cannot fail with one of these.
pub(crate) fn of(call: SystemCall) -> &'static [Errno] {
    use Errno::{EAGAIN, EBUSY, EINTR, EIO, EMFILE, ENOMEM, ENOSPC, EPERM};
    match call.number {
        libc::SYS_openat | libc::SYS_open => {
            // openat(folder, path, flags); open(path, flags).
            let flags = call.args[if call.number == libc::SYS_openat { 2 } else { 1 }];
            if flags & 0o100 == 0 {
                &[EMFILE, ENOMEM, EIO, EPERM, EINTR]
            } else {
                &[EMFILE, ENOMEM, EIO, EPERM, EINTR, ENOSPC]
            }
        }
        libc::SYS_socket | libc::SYS_pipe2 | libc::SYS_memfd_create | libc::SYS_dup => {
            &[EMFILE, ENOMEM, EPERM]
        }
        libc::SYS_bind | libc::SYS_connect | libc::SYS_setsockopt => &[ENOMEM, EPERM],
        // EBUSY can be the answer to a netlink message, but sending it never returns EBUSY.
        libc::SYS_sendto | libc::SYS_sendmsg => &[ENOMEM, EPERM, EINTR],
        libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_poll | libc::SYS_ppoll => &[ENOMEM, EINTR],
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 => &[ENOSPC, EIO, EINTR],
        libc::SYS_read | libc::SYS_pread64 => &[EIO, EINTR],
        libc::SYS_mkdir | libc::SYS_mkdirat | libc::SYS_link | libc::SYS_linkat | libc::SYS_symlinkat => {
            &[ENOSPC, EIO, EPERM]
        }
        libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2 => &[ENOSPC, EIO, EBUSY, EPERM],
        libc::SYS_unlink | libc::SYS_unlinkat | libc::SYS_rmdir => &[EIO, EBUSY, EPERM],
        libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_ftruncate => &[EIO, ENOSPC],
        libc::SYS_flock => &[EINTR, ENOMEM],
        libc::SYS_setns | libc::SYS_unshare => &[EPERM, ENOMEM],
        libc::SYS_clone | libc::SYS_clone3 | libc::SYS_fork | libc::SYS_vfork => &[EAGAIN, ENOMEM],
        libc::SYS_mmap => &[ENOMEM],
        libc::SYS_stat | libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_fstat | libc::SYS_getdents64 => {
            &[EIO, ENOMEM]
        }
        _ => &[],
    }
}

/// Whether a call can return this error.
pub(crate) fn is_possible(call: SystemCall, errno: Errno) -> bool {
    of(call).contains(&errno)
}
