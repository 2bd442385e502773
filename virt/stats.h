/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counters of a VM and of a vCPU, and their binary form (KVM_GET_STATS_FD).
 *
 * A list row is (name, type, unit): the name users know, KVM_STATS_TYPE_* and KVM_STATS_UNIT_*
 * without their prefixes.
 */
#ifndef STRATA_STATS_H
#define STRATA_STATS_H

#include <linux/types.h>

#define VIRT_VM_STATS(S)			\
	S(mmu_pages, INSTANT, NONE)		\
	S(nx_lpage_splits, INSTANT, NONE)	\
	S(remote_tlb_flush, CUMULATIVE, NONE)

#define VIRT_VCPU_STATS(S)			\
	S(exits, CUMULATIVE, NONE)		\
	S(io_exits, CUMULATIVE, NONE)		\
	S(mmio_exits, CUMULATIVE, NONE)		\
	S(signal_exits, CUMULATIVE, NONE)	\
	S(irq_window_exits, CUMULATIVE, NONE)	\
	S(nmi_window_exits, CUMULATIVE, NONE)	\
	S(halt_exits, CUMULATIVE, NONE)		\
	S(halt_attempted_poll, CUMULATIVE, NONE) \
	S(halt_successful_poll, CUMULATIVE, NONE) \
	S(halt_wakeup, CUMULATIVE, NONE)	\
	S(blocking, INSTANT, BOOLEAN)		\
	S(irq_exits, CUMULATIVE, NONE)		\
	S(insn_emulation, CUMULATIVE, NONE)	\
	S(insn_emulation_fail, CUMULATIVE, NONE) \
	S(hypercalls, CUMULATIVE, NONE)		\
	S(irq_injections, CUMULATIVE, NONE)	\
	S(nmi_injections, CUMULATIVE, NONE)	\
	S(req_event, CUMULATIVE, NONE)		\
	S(nested_run, CUMULATIVE, NONE)		\
	S(guest_mode, INSTANT, BOOLEAN)		\
	S(pf_taken, CUMULATIVE, NONE)		\
	S(pf_fixed, CUMULATIVE, NONE)		\
	S(pf_fast, CUMULATIVE, NONE)		\
	S(pf_emulate, CUMULATIVE, NONE)		\
	S(tlb_flush, CUMULATIVE, NONE)		\
	S(l1d_flush, CUMULATIVE, NONE)		\
	S(preemption_reported, CUMULATIVE, NONE)

#define S(name, type, unit) u64 name;
struct virt_vm_stats { VIRT_VM_STATS(S) };
struct virt_vcpu_stats { VIRT_VCPU_STATS(S) };
#undef S

struct virt_vm;
struct virt_vcpu;

/*
 * KVM_GET_STATS_FD: a descriptor that reads the counters and keeps the VM alive. A descriptor or
 * -errno.
 */
long virt_vm_stats_fd(struct virt_vm *vm);
long virt_vcpu_stats_fd(struct virt_vcpu *v);

#endif
