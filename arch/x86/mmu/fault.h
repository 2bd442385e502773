/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A nested page fault on its way from a guest frame to a host frame.
 */
#ifndef STRATA_FAULT_H
#define STRATA_FAULT_H

#include "mmu.h"
#include "../../../virt/virt.h"

/* Neighbours of a 4K page that one fault may map too: an aligned group, itself included */
#define FAULT_GROUP	16

/**
 * struct fault - one fault
 * @v: the vCPU
 * @slot: slot of @gfn
 * @gfn: guest frame
 * @hva: its userspace address
 * @access: ACCESS_*
 * @seq: vm->inval_seq before the host's tables were looked at
 * @pfn: host frame of @gfn (of its own 4K page, whatever @level is)
 * @level: size of the host's mapping, 1..3; then that of the leaf to be made
 * @writable: slot and host allow writing
 * @uncached: device memory
 * @clean: the host need not know that the page is written: where it is @writable, tell it
 * @host: the host's leaf of @hva; 0 if the answer did not come from the host's tables, or has no
 *	@group
 * @group: with @host of level 1: the host's entries of the aligned group that @hva is in, by
 *	fault_group_index()
 */
struct fault {
	struct vcpu *v;
	const struct virt_slot *slot;
	u64 gfn;
	unsigned long hva;
	u32 access;
	unsigned long seq;
	u64 pfn;
	int level;
	bool writable;
	bool uncached;
	bool clean;
	u64 host;
	u64 group[FAULT_GROUP];
};

/**
 * fault_find_pfn() - what the host has mapped at the fault's HVA
 * @f: the fault: @v, @slot, @gfn, @hva, @access are set; the rest is filled in
 *
 * Nothing is pinned: the answer holds as long as no invalidation of @hva began since @f->seq was
 * read. May sleep.
 * Return: 0, -EINTR, -EHWPOISON, -EFAULT, -ENOMEM; -EINPROGRESS if the guest is told when the page
 * has come.
 */
int fault_find_pfn(struct fault *f);

/* Size of the host's mapping of an address: 1..3; 0 if there is none that could be used. */
int fault_host_level(struct mm_struct *mm, unsigned long hva);

static inline unsigned int fault_group_index(const struct fault *f)
{
	return (f->hva >> PAGE_SHIFT) % FAULT_GROUP;
}

#endif
