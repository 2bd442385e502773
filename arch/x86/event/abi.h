/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The event queue as userspace sees it: pure conversions to and from struct kvm_vcpu_events and
 * SREGS.interrupt_bitmap.
 *
 * Getters take a const queue and the inbox as it is, and show the two together: nothing is drained
 * for a reader. Setters are split: event_restore_check() refuses and changes nothing,
 * event_restore() cannot fail.
 */
#ifndef STRATA_EVENT_ABI_H
#define STRATA_EVENT_ABI_H

#include <linux/kvm.h>

#include "event.h"

/**
 * struct event_abi - which ABI the VM's userspace asked for
 * @payload: KVM_CAP_EXCEPTION_PAYLOAD is on
 * @triple_fault: KVM_CAP_X86_TRIPLE_FAULT_EVENT is on
 * @smm: system management mode is supported (KVM_CAP_X86_SMM)
 * @strata: STRATA_CAP_EVENTS is on
 */
struct event_abi {
	bool payload;
	bool triple_fault;
	bool smm;
	bool strata;
};

/**
 * event_save() - KVM_GET_VCPU_EVENTS
 * @q: the queue
 * @inbox: INBOX_* bits not yet drained
 * @sipi_vector: the vCPU's, of INBOX_SIPI
 * @abi: which ABI
 * @v: the guest's blocking state: shadow and MP state
 * @out: filled in completely
 */
void event_save(const struct event_queue *q, unsigned long inbox, u8 sipi_vector,
		const struct event_abi *abi, const struct event_view *v,
		struct kvm_vcpu_events *out);

/**
 * event_restore_check() - may KVM_SET_VCPU_EVENTS do this
 * @in: from userspace
 * @abi: which ABI
 *
 * Return: 0 or -EINVAL: unknown flags, a flag whose capability is off, an exception vector above 31
 * or 2, smi.smm without SMM, non-zero or meaningless reserved bytes with @strata.
 */
int event_restore_check(const struct kvm_vcpu_events *in, const struct event_abi *abi);

/**
 * event_restore() - KVM_SET_VCPU_EVENTS, checked
 * @q: the queue
 * @in: from userspace
 * @abi: which ABI
 *
 * The caller clears event_restore_inbox() in the inbox first, sets the shadow
 * (event_restore_shadow()), and does what entering or leaving SMM asks if @smm changed.
 */
void event_restore(struct event_queue *q, const struct kvm_vcpu_events *in,
		   const struct event_abi *abi);

/**
 * event_restore_inbox() - inbox bits of the vCPU's former life that this SET replaces
 * @in: from userspace
 * @abi: which ABI
 */
unsigned long event_restore_inbox(const struct kvm_vcpu_events *in, const struct event_abi *abi);

/**
 * event_restore_shadow() - the interrupt shadow to set
 * @in: from userspace
 * @shadow: SHADOW_* bits
 *
 * Return: false if @in does not say.
 */
bool event_restore_shadow(const struct kvm_vcpu_events *in, u8 *shadow);

/**
 * event_save_bitmap() - SREGS.interrupt_bitmap
 * @q: the queue
 * @bitmap: 256 bits, filled in
 */
void event_save_bitmap(const struct event_queue *q, __u64 bitmap[4]);

/**
 * event_restore_bitmap() - SREGS.interrupt_bitmap, the other way; an empty one says nothing
 * @q: the queue
 * @bitmap: 256 bits; the lowest one set counts
 */
void event_restore_bitmap(struct event_queue *q, const __u64 bitmap[4]);

/**
 * event_view_cr2() - CR2 for a reader: without @payload as it will be once the pending exception is
 * delivered
 * @q: the queue
 * @abi: which ABI
 * @cr2: as it is
 */
u64 event_view_cr2(const struct event_queue *q, const struct event_abi *abi, u64 cr2);

/**
 * event_view_dr6() - the same for DR6
 * @q: the queue
 * @abi: which ABI
 * @dr6: as it is
 */
u64 event_view_dr6(const struct event_queue *q, const struct event_abi *abi, u64 dr6);

#endif
