/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What both backends do with an exit once they know what it is.
 *
 * Called with interrupts on and srcu held, unless said otherwise. The vCPU's RIP is at the
 * instruction that exited; the functions step over it (through the backend's skip, or by decoding)
 * where the instruction is done.
 */
#ifndef STRATA_X86_EXIT_H
#define STRATA_X86_EXIT_H

#include "strata.h"

enum exit_result exit_cpuid(struct vcpu *v);
enum exit_result exit_rdmsr(struct vcpu *v);
enum exit_result exit_wrmsr(struct vcpu *v);
enum exit_result exit_hlt(struct vcpu *v);
/* The halt state: HLT, or RSM back to it. Without a local APIC in the kernel it is userspace's. */
enum exit_result vcpu_halt(struct vcpu *v);
/* RSM: #UD outside SMM */
enum exit_result exit_rsm(struct vcpu *v);
enum exit_result exit_hypercall(struct vcpu *v);
enum exit_result exit_xsetbv(struct vcpu *v);
/* An instruction that is a NOP for the guest: INVD, WBINVD, PAUSE, MONITOR, MWAIT. */
enum exit_result exit_nop(struct vcpu *v);
enum exit_result exit_pause(struct vcpu *v);
enum exit_result exit_ud(struct vcpu *v);
enum exit_result exit_gp(struct vcpu *v);
/* Execute the instruction at RIP. */
enum exit_result exit_emulate(struct vcpu *v);
/* IN and OUT; @string: INS, OUTS. */
enum exit_result exit_io(struct vcpu *v, u16 port, unsigned int size, bool in, bool string);
/* MOV to and from DRn by register @gpr. */
enum exit_result exit_mov_dr(struct vcpu *v, int dr, int gpr, bool write);
/*
 * Nested paging fault. @access may have ACCESS_FINAL: the fault was on the translated address, not
 * on a guest page table.
 */
#define ACCESS_FINAL	BIT(30)
enum exit_result exit_page_fault(struct vcpu *v, u64 gpa, u32 access);
/*
 * An access to what is no memory. @gpa: L1's physical address; @operand: it is that of the
 * instruction's operand, not of a table. In the delivery of an event it is an internal error, with
 * the event still to be delivered.
 */
enum exit_result exit_mmio(struct vcpu *v, u64 gpa, bool operand);
/*
 * emulate_task_switch(); @next: where the old task goes on. With an event in delivery the switch is
 * that: if it does not come about, the event is still to be delivered, and what it raises is merged
 * with it.
 */
enum exit_result exit_task_switch(struct vcpu *v, u16 selector, int reason, bool has_error,
				  u32 error, unsigned long next);
/* Exceptions that push an error code. */
static inline bool vector_has_error(u8 vector)
{
	return (BIT(X86_TRAP_DF) | BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) | BIT(X86_TRAP_SS) |
		BIT(X86_TRAP_GP) | BIT(X86_TRAP_PF) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_CP)) &
	       BIT(vector);
}
/*
 * #DB and #BP that were intercepted: userspace's, or the guest's own. @payload: causes in DR6
 * layout.
 */
enum exit_result exit_debug(struct vcpu *v, u64 payload);
enum exit_result exit_breakpoint(struct vcpu *v, u8 len);
enum exit_result exit_shutdown(struct vcpu *v);
enum exit_result exit_internal_error(struct vcpu *v, u32 suberror, u64 data0, u64 data1);
enum exit_result exit_error(struct vcpu *v, int error);

/**
 * vcpu_skip() - step over the instruction that exited
 * @v: the vCPU
 *
 * Clears the shadow; with TF set the single-step trap follows, or userspace's single step ends.
 *
 * Return: EXIT_RESUME, or what single-stepping makes of it.
 */
enum exit_result vcpu_skip(struct vcpu *v);

/* Length of the instruction at RIP by decoding, 0 if it cannot be fetched (emu.c). May sleep. */
unsigned int emu_insn_length(struct vcpu *v);
/* The address behind that instruction */
unsigned long emu_next_rip(struct vcpu *v);
/*
 * Length of the INT n, INT3, INTO or INT1 at RIP that raises @e, 0 if another instruction is there.
 */
unsigned int emu_soft_length(struct vcpu *v, const struct event *e);
/* The instruction at RIP is RSM. */
bool emu_at_rsm(struct vcpu *v);
/* VMCALL, without prefixes. May sleep. */
bool emu_at_vmcall(struct vcpu *v);
/* The instruction at @rip is an IN or OUT with an immediate port. */
bool emu_io_immediate(struct vcpu *v, unsigned long rip);
/* Commit an emulation that waited only for userspace to see its write. */
enum exit_result emu_finish(struct vcpu *v);
int emu_vcpu_init(struct vcpu *v);
void emu_vcpu_destroy(struct vcpu *v);
/* EMU_FEAT_* of the guest's CPUID */
u32 emu_guest_features(struct vcpu *v);
/* Execute the instruction at RIP, or go on with one that waits for userspace. */
enum exit_result emu_run(struct vcpu *v);
/* Single-stepping by userspace or the guest's TF after an instruction that was executed here. */
enum exit_result vcpu_after_insn(struct vcpu *v, unsigned long rflags_before);

/* io.c: instructions that wait for userspace. */
enum exit_result io_complete(struct vcpu *v);
enum exit_result io_port(struct vcpu *v, u16 port, unsigned int size, bool in);
/*
 * An OUT, interrupts off: true if it rang a doorbell, and all that is left is the step over it.
 * Where there are none there is no need to ask.
 */
bool io_doorbell(struct vcpu *v, u16 port, unsigned int size);

static inline bool io_has_doorbells(const struct vcpu *v)
{
	return READ_ONCE(v->virt.vm->doorbells[VIRT_BUS_PIO]);
}

/* An I/O instruction from @before to RIP is over: an SMI that waits comes with it. */
void io_note_port(struct vcpu *v, u16 port, unsigned int size, bool in, unsigned long before);
/* The same for what was emulated, before it is committed */
void io_note_emulated(struct vcpu *v, const struct emu *e);
/* KVM_RUN begins: what no SMI came with is past. */
void io_last_begins(struct vcpu *v);
/* The I/O instruction that the vCPU stands behind, NULL if it was another */
const struct smram_io *io_last(struct vcpu *v);

static inline void io_last_ends(struct vcpu *v)
{
	v->io.last.io.flags = 0;
}

/*
 * An SMI that the next entry cannot overtake. Rarely even the first question is worth the others.
 */
static inline bool io_smi_waits(const struct vcpu *v)
{
	return unlikely(v->events.smi | READ_ONCE(v->virt.requests)) &&
	       (v->events.smi ||
		(test_bit(REQ_EVENT, &v->virt.requests) && test_bit(INBOX_SMI, &v->inbox)));
}

enum exit_result io_msr(struct vcpu *v, u32 msr, u64 data, bool write, u32 reason);
void io_forget(struct vcpu *v);

#endif
