/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KVM_SET_USER_MEMORY_REGION2 came with 6.8, but programs do not ask which kernel a module was
 * built for.
 */
#ifndef STRATA_COMPAT_MEMORY_H
#define STRATA_COMPAT_MEMORY_H

#include <linux/kvm.h>

#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2	231

struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};

#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#endif

#endif
