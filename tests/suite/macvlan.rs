//! The plugins `macvlan` and `ipvlan`: containers on a network of the host's own. What this kernel lacks, ipvlan above all, is in
//! tests/kernels.

mod host_access;
mod lan;
mod networks;
mod reach;
mod reference;
mod removal;
mod verbs;
