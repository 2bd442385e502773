/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What strata adds to the ABI of <linux/kvm.h>.
 *
 * Everything here is behind a capability: KVM_CHECK_EXTENSION on the system or a VM returns
 * non-zero, KVM_ENABLE_CAP on the VM, before its first vCPU, switches it on. A VMM that knows
 * nothing of strata sees the plain ABI.
 */
#ifndef _LINUX_STRATA_H
#define _LINUX_STRATA_H

#include <linux/types.h>

/* Capability numbers: "St" and a count, far from those of <linux/kvm.h>. */

/*
 * kvm_vcpu_events.reserved[] holds a struct strata_events: what is on its way into the guest and
 * has no field in kvm_vcpu_events. Without it, see "What a VMM loses" in
 * Documentation/abi-events.rst.
 */
#define STRATA_CAP_EVENTS		0x53740001

/*
 * For tests: KVM_RUN returns 0 with exit_reason STRATA_EXIT_EACH after every hardware exit, once it
 * is handled (unless that exit goes to userspace anyway). kvm_run.hw.hardware_exit_reason is the
 * CPU's exit code or exit reason.
 */
#define STRATA_CAP_EXIT_EACH		0x53740002

/* kvm_run.exit_reason */
#define STRATA_EXIT_EACH		0x53740002

/* strata_events.flags */
#define STRATA_EVENTS_VALID		0x01	/* the structure says something; else it is all zero */
#define STRATA_EVENTS_STASH		0x02	/* @stash_nr waits for the guest to be interruptible */
#define STRATA_EVENTS_MTF		0x04	/* a monitor-trap exit to L1 is pending */
#define STRATA_EVENTS_TIMER		0x08	/* an exit to L1 for its expired VMX-preemption timer is pending */
#define STRATA_EVENTS_KICKED		0x10	/* KVM_HC_KICK_CPU came: the next HLT does not wait */
#define STRATA_EVENTS_STASH2		0x20	/* @stash_next waits behind @stash_nr; with STRATA_EVENTS_STASH */
#define STRATA_EVENTS_FLAGS		0x3f

/* strata_events.delivering_kind and pending_kind */
#define STRATA_EVENT_NONE		0
#define STRATA_EVENT_INTERRUPT		1	/* external interrupt: kvm_vcpu_events.interrupt.nr */
#define STRATA_EVENT_NMI		2
#define STRATA_EVENT_EXCEPTION		3	/* hardware exception: .exception.nr */
#define STRATA_EVENT_SOFT_INT		4	/* INT n: .interrupt.nr */
#define STRATA_EVENT_SOFT_EXCEPTION	5	/* INT3, INTO: .exception.nr */
#define STRATA_EVENT_PRIV_EXCEPTION	6	/* INT1: .exception.nr */

/*
 * strata_events.io_flags: the low byte of the I/O instruction restart dword (APM, "I/O Instruction
 * Restart")
 */
#define STRATA_IO_IN			0x01	/* IN or INS, else OUT or OUTS */
#define STRATA_IO_VALID			0x02	/* the instruction behind which the vCPU stands accessed a port */
#define STRATA_IO_STRING		0x04	/* INS, OUTS */
#define STRATA_IO_REP			0x08	/* with a REP prefix */
#define STRATA_IO_8			0x10
#define STRATA_IO_16			0x20
#define STRATA_IO_32			0x40
#define STRATA_IO_FLAGS			0x7f

/* Bits of pending_dbg and smm_dbg: those of DR6, all of them active-high */
#define STRATA_EVENTS_DR6		0x0001e80f

/**
 * struct strata_events - in the 26 bytes kvm_vcpu_events.reserved[]
 * @flags: STRATA_EVENTS_*
 * @delivering_kind: kind of the event whose delivery had begun. Its vector and error code are where
 *	kvm_vcpu_events has them. STRATA_EVENT_NONE with interrupt.injected set means that what is
 *	reported there is the stash
 * @delivering_len: with a soft kind: length of its instruction
 * @pending_kind: kind of the exception that kvm_vcpu_events reports as pending
 * @pending_len: with a soft kind: length of its instruction
 * @stash_nr: vector of an interrupt that waits beside the event in delivery; 0 without
 *	STRATA_EVENTS_STASH
 * @pending_dbg: debug-trap causes held back by a MOV SS shadow
 * @smm_dbg: debug-trap causes that happen after RSM
 * @io_flags: STRATA_IO_* of the I/O instruction that has just completed: an SMI that is taken
 *	before the next one may restart it
 * @io_len: its length; 0 if RIP is still at it, with iterations left
 * @io_asize: of a string instruction: its address size in bytes, 2, 4 or 8
 * @io_port: its port
 * @stash_next: vector of an interrupt that waits behind @stash_nr; 0 without STRATA_EVENTS_STASH2
 * @reserved: 0
 *
 * On input a kind refines what kvm_vcpu_events says and never contradicts it: one that does not fit
 * the fields set there is taken as the plain ABI takes them.
 */
struct strata_events {
	__u8 flags;
	__u8 delivering_kind;
	__u8 delivering_len;
	__u8 pending_kind;
	__u8 pending_len;
	__u8 stash_nr;
	__u32 pending_dbg;
	__u32 smm_dbg;
	__u8 io_flags;
	__u8 io_len;
	__u8 io_asize;
	__u16 io_port;
	__u8 stash_next;
	__u8 reserved[6];
} __attribute__((packed));

#endif
