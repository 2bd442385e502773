/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kvm_run.immediate_exit: newer headers rename it for the kernel, as userspace may change it at any
 * time. The flag for nested guests came with 6.10.
 */
#ifndef STRATA_COMPAT_KVM_RUN_H
#define STRATA_COMPAT_KVM_RUN_H

#include <linux/kvm.h>

#ifdef HINT_UNSAFE_IN_KVM
#define run_immediate_exit(run) READ_ONCE((run)->immediate_exit__unsafe)
#else
#define run_immediate_exit(run) READ_ONCE((run)->immediate_exit)
#endif

#define RUN_X86_GUEST_MODE	(1 << 2)	/* KVM_RUN_X86_GUEST_MODE */

#endif
