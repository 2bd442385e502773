/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The x86 machine: struct vm, struct vcpu and the few types that all rooms share.
 *
 * Field legend: (c) constant after creation, (v) vCPU thread under its mutex, (m) vm->lock, (n)
 * vm->mmu_lock, (a) atomic. Small structures belong to one room each (its header says which file
 * writes them).
 */
#ifndef STRATA_X86_H
#define STRATA_X86_H

#include "../../virt/ioctl.h"
#include "../../virt/virt.h"
#include "cpu/cpu.h"
#include "event/event.h"
#include "irqchip/irqchip.h"
#include "mmu/mmu.h"
#include "pv/pv.h"
#include "io.h"

#include <asm/trapnr.h>

/* Registers by the number the CPU encodes them with; then those cached beside them. */
enum reg {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	REG_RIP,
	REG_RFLAGS,
	NR_REGS,
	/* Not in regs[]: fields of struct vcpu that the backend fills on first use. */
	REG_CR0 = NR_REGS,
	REG_CR3,
	REG_CR4,
	REG_PDPTR,
};

/* Segments by the number the CPU encodes them with */
enum seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, NR_SEGS };

struct emu;

/* KVM_RUN ends for a signal: the entry before, which is to leave an interrupt shadow */
enum last_entry { LAST_ENTRY_NOT, LAST_ENTRY_NOW, LAST_ENTRY_TRIED };

/* What a handled exit asks of the run loop. */
enum exit_result {
	EXIT_RESUME,		/* enter again */
	EXIT_TO_USER,		/* kvm_run is filled in: KVM_RUN returns 0 */
	EXIT_ERROR,		/* KVM_RUN returns vcpu->error */
};

/* Requests (virt_vcpu.requests) of this architecture */
#define REQ_EVENT		(VIRT_REQ_ARCH + 0)	/* the inbox or the controllers have something */
#define REQ_MSR_FILTER		(VIRT_REQ_ARCH + 1)	/* vm->msr_filter changed */
#define REQ_APIC_TIMER		(VIRT_REQ_ARCH + 2)	/* the local APIC's timer may have expired */
#define REQ_EOI_EXIT		(VIRT_REQ_ARCH + 3)	/* userspace's IOAPIC is to hear of an EOI */
#define REQ_NESTED_FAULT	(VIRT_REQ_ARCH + 4)	/* mmu_nested_take_fault() has a fault for L1 */
#define REQ_CLOCK		(VIRT_REQ_ARCH + 5)	/* the kvmclock page is to be written */
#define REQ_STEAL		(VIRT_REQ_ARCH + 6)	/* the page of the steal time is to be looked at */
#define REQ_NESTED_PAGES	(VIRT_REQ_ARCH + 7)	/* memory that L1 names is to be looked at */
#define REQ_TPR_ACCESS		(VIRT_REQ_ARCH + 8)	/* userspace is to hear of an access to TPR */
#define REQ_APF			(VIRT_REQ_ARCH + 9)	/* the guest is to hear of a page that came */

/**
 * struct vm - an x86 virtual machine
 * @virt: the common half
 * @mmu: nested page tables
 * @cpu: what concerns CPUID, MSRs and clocks of all vCPUs
 * @exception_payload: (m) KVM_CAP_EXCEPTION_PAYLOAD is on
 * @triple_fault_event: (m) KVM_CAP_X86_TRIPLE_FAULT_EVENT is on
 * @strata_events: (m) STRATA_CAP_EVENTS is on
 * @exit_each: (m) STRATA_CAP_EXIT_EACH is on
 * @disabled_exits: (m) KVM_X86_DISABLE_EXIT_*; before the first vCPU
 * @disabled_quirks: (m) KVM_X86_QUIRK_*
 * @irqchip: (m) enum event_irqchip; before the first vCPU
 * @irq: interrupt controllers, see there
 * @clock: the clock, see there
 * @tss_addr: (m) KVM_SET_TSS_ADDR
 * @identity_map_addr: (m) KVM_SET_IDENTITY_MAP_ADDR
 * @halt_poll_own: (m) KVM_CAP_HALT_POLL was set
 * @halt_poll_ns: (m) to what
 * @max_vcpu_ids: (m) KVM_CAP_MAX_VCPU_ID was set to this; 0: not
 * @forced_intercepts: (c) exception vectors always intercepted (force_intercept_exceptions)
 * @backend: (c) the backend's half
 */
struct vm {
	struct virt_vm virt;
	struct vm_mmu mmu;
	struct vm_cpu cpu;
	bool exception_payload;
	bool triple_fault_event;
	bool strata_events;
	bool exit_each;
	u32 max_vcpu_ids;
	u32 disabled_exits;
	u64 disabled_quirks;
	u8 irqchip;
	struct vm_irq irq;
	struct vm_clock clock;
	u64 tss_addr;
	u64 identity_map_addr;
	bool halt_poll_own;
	u32 halt_poll_ns;
	u32 forced_intercepts;
	void *backend;
};

/**
 * struct vcpu - an x86 virtual CPU
 * @virt: the common half
 * @regs: (v) general registers, RIP and RFLAGS; valid where @regs_avail says so
 * @regs_avail: (v) BIT(enum reg): the cached copy is valid
 * @regs_dirty: (v) BIT(enum reg): the cached copy is newer than the control block
 * @cr0: (v) guest's CR0 (REG_CR0)
 * @cr2: (v) guest's CR2
 * @cr3: (v) guest's CR3 (REG_CR3)
 * @cr4: (v) guest's CR4 (REG_CR4)
 * @cr8: (v) guest's CR8, 0..15; with @apic a copy of its TPR's class
 * @efer: (v) guest's EFER
 * @apic: (c) the local APIC in the kernel, NULL without one
 * @apic_base: (v) IA32_APIC_BASE; with @apic a copy of its own
 * @pdptr: (v) PAE page-directory pointers as last loaded (REG_PDPTR)
 * @events: (v) the event queue
 * @inbox: (a) INBOX_* bits, set by anybody, drained by the run loop
 * @sipi_vector: (a) vector of INBOX_SIPI, written before the bit
 * @mp_state: (v) KVM_MP_STATE_*
 * @cpu: CPUID, MSRs, FPU, debug registers, clocks
 * @pv: paravirtual interfaces
 * @mmu: nested paging of this vCPU
 * @emu: the emulation in progress, or the last one
 * @io: an access that userspace is completing
 * @emu_features: (v) EMU_FEAT_*: what the guest's CPUID means to the emulator
 * @error: (v) errno of an EXIT_ERROR
 * @want_window: (v) userspace asked for an interrupt window, as read when KVM_RUN began
 * @halt_window: (v) how long the next HLT looks for work before it sleeps, ns
 * @resume_later: (v) TIF_NOTIFY_RESUME was taken away until KVM_RUN returns
 * @last_entry: (v) enum last_entry
 * @steps_event: (v) the entry delivers an event, which is the step that userspace asked for
 * @exit_slow: (v) every exit goes through the run loop: no handling with interrupts off
 * @windows: (v) the control block is set to exit at a window
 * @guest_mode: (v) runs L2
 * @rcu_noted: (v) jiffies when RCU was last told of an entry
 *
 * The backend's half follows it: see to_svm(), to_vmx().
 */
struct vcpu {
	struct virt_vcpu virt;

	unsigned long regs[NR_REGS];
	u32 regs_avail;
	u32 regs_dirty;
	struct event_queue events;
	bool guest_mode;
	bool want_window;
	bool windows;
	bool resume_later;
	bool exit_slow;
	u8 last_entry;
	bool steps_event;
	u8 mp_state;
	u8 sipi_vector;
	u32 emu_features;
	u32 halt_window;
	int error;
	unsigned long rcu_noted;
	unsigned long inbox;

	unsigned long cr0;
	unsigned long cr2;
	unsigned long cr3;
	unsigned long cr4;
	unsigned long cr8;
	u64 efer;
	struct vcpu_apic *apic;
	u64 apic_base;
	u64 pdptr[4];

	struct vcpu_cpu cpu;
	struct vcpu_pv pv;
	struct vcpu_mmu mmu;
	struct vcpu_io io;
	struct emu *emu;
};

static inline struct vm *to_vm(struct virt_vm *vm)
{
	return container_of(vm, struct vm, virt);
}

static inline struct vcpu *to_vcpu(struct virt_vcpu *v)
{
	return container_of(v, struct vcpu, virt);
}

static inline struct vm *vcpu_vm(struct vcpu *v)
{
	return to_vm(v->virt.vm);
}

/*
 * Register access: the backend fills a cached register on first use and writes dirty ones back at
 * entry (run.c).
 */
void vcpu_cache_reg(struct vcpu *v, enum reg reg);

static inline void vcpu_need_reg(struct vcpu *v, enum reg reg)
{
	if (unlikely(!(v->regs_avail & BIT(reg))))
		vcpu_cache_reg(v, reg);
}

static inline unsigned long vcpu_reg(struct vcpu *v, enum reg reg)
{
	vcpu_need_reg(v, reg);
	return v->regs[reg];
}

static inline void vcpu_set_reg(struct vcpu *v, enum reg reg, unsigned long val)
{
	v->regs[reg] = val;
	v->regs_avail |= BIT(reg);
	v->regs_dirty |= BIT(reg);
}

static inline unsigned long vcpu_rip(struct vcpu *v)
{
	return vcpu_reg(v, REG_RIP);
}

static inline unsigned long vcpu_rflags(struct vcpu *v)
{
	return vcpu_reg(v, REG_RFLAGS);
}

static inline unsigned long vcpu_cr0(struct vcpu *v)
{
	vcpu_need_reg(v, REG_CR0);
	return v->cr0;
}

static inline unsigned long vcpu_cr3(struct vcpu *v)
{
	vcpu_need_reg(v, REG_CR3);
	return v->cr3;
}

static inline unsigned long vcpu_cr4(struct vcpu *v)
{
	vcpu_need_reg(v, REG_CR4);
	return v->cr4;
}

static inline bool vcpu_long_mode(struct vcpu *v)
{
	return v->efer & BIT(10);	/* EFER.LMA */
}

/* EDX:EAX of RDMSR, WRMSR, RDTSC, XSETBV */
static inline u64 vcpu_edx_eax(struct vcpu *v)
{
	return (u32)v->regs[REG_RAX] | (u64)(u32)v->regs[REG_RDX] << 32;
}

static inline void vcpu_set_edx_eax(struct vcpu *v, u64 val)
{
	vcpu_set_reg(v, REG_RAX, (u32)val);
	vcpu_set_reg(v, REG_RDX, val >> 32);
}

/* Exceptions raised by the machine itself (vcpu.c): queued, delivered at the next entry. */
void vcpu_raise(struct vcpu *v, u8 vector);
void vcpu_raise_error(struct vcpu *v, u8 vector, u32 error);
void vcpu_raise_pf(struct vcpu *v, u32 error, u64 cr2);
void vcpu_raise_db(struct vcpu *v, u64 payload);
static inline void vcpu_raise_gp(struct vcpu *v)
{
	vcpu_raise_error(v, 13, 0);
}

/* 64-bit code segment: RIP is not truncated, operands default to 64-bit rules. */
bool vcpu_cs_long(struct vcpu *v);

/* RIP after @len more bytes, as wide as the code segment makes it */
static inline unsigned long vcpu_rip_add(struct vcpu *v, unsigned int len)
{
	unsigned long rip = vcpu_rip(v) + len;

	/* Only where it would wrap does the code segment matter. */
	if (likely(!((rip ^ (rip - len)) >> 32)))
		return rip;
	return vcpu_cs_long(v) ? rip : (u32)rip;
}

/* CS base + RIP */
unsigned long vcpu_linear_rip(struct vcpu *v);
/* struct emu's and the debug interface's idea of where the CPU is: enum emu_mode */
unsigned int vcpu_insn_mode(struct vcpu *v);

/* What blocks the guest, for the event core (vcpu.c). */
void vcpu_view(struct vcpu *v, struct event_view *view);
/* event_exit(), seen by traces (decide.c). Backends call this one. */
void vcpu_event_exit(struct vcpu *v, const struct event *vectoring);
/* Registers and state as after RESET (or INIT); vcpu.c */
void vcpu_reset(struct vcpu *v, bool init);

#endif
