/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMX backend's own structures.
 */
#ifndef STRATA_VMX_H
#define STRATA_VMX_H

#include "../backend.h"
#include "caps_pure.h"

#include <linux/jump_label.h>
#include <asm/desc_defs.h>
#include <asm/vmx.h>

/*
 * Exit reasons that <asm/vmx.h> does not name (SDM, "VMX Basic Exit Reasons"), and our own for
 * VMfail.
 */
#define VMX_EXIT_GETSEC		11
#define VMX_EXIT_RSM		17
#define VMX_EXIT_ENCLV		70
#define VMX_EXIT_SEAMCALL	76
#define VMX_EXIT_TDCALL		77
#define VMX_EXIT_VMFAIL		0xffffffffu
#define VMX_EXIT_DONE		0x7fffffffu	/* handled with interrupts off, the run loop has something to do */

/* Guest-owned bits of CR0: the guest changes them without an exit. */
#define VMX_CR0_GUEST	(X86_CR0_TS | X86_CR0_MP)
/* The same of CR4, as far as the guest's CPUID allows each. */
#define VMX_CR4_GUEST	(X86_CR4_PVI | X86_CR4_DE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_PGE | \
			 X86_CR4_TSD | X86_CR4_FSGSBASE)

/* Fraction bits of the TSC multiplier */
#define VMX_TSC_FRAC	48

extern struct vmx_caps vmx_caps;

static inline bool vmx_has2(u32 control)
{
	return vmx_caps.cpu2 & control;
}

/**
 * struct vmx_switch - what the world switch needs; read by world.S, so every member is 8 bytes
 * @regs: vcpu->regs
 * @host_rsp: what HOST_RSP holds
 * @launched: VMRESUME, not VMLAUNCH
 * @spec_switch: SPEC_CTRL must be switched by hand
 * @guest_spec: guest's SPEC_CTRL
 * @host_spec: host's SPEC_CTRL
 */
struct vmx_switch {
	unsigned long *regs;
	u64 host_rsp;
	u64 launched;
	u64 spec_switch;
	u64 guest_spec;
	u64 host_spec;
};

/**
 * struct vmx_host - host state that VM exits do not bring back; valid while @loaded
 * @loaded: the guest's is in the CPU; vcpu_put() brings the host's back
 * @fs: user's FS selector
 * @gs: user's GS selector
 * @ds: user's DS selector
 * @es: user's ES selector
 * @ldt: LDT selector
 * @fs_base: what HOST_FS_BASE holds
 * @cr3: what HOST_CR3 holds
 * @cr4: what HOST_CR4 holds
 * @gdt: GDTR of the CPU that the VMCS is active on
 */
struct vmx_host {
	bool loaded;
	u16 fs, gs, ds, es, ldt;
	unsigned long fs_base;
	unsigned long cr3;
	unsigned long cr4;
	struct desc_ptr gdt;
};

struct vmx_perf;

/*
 * Which accesses to the local APIC's registers the CPU serves: none, none although it delivers
 * interrupts, MMIO, MSRs
 */
enum vmx_apicv { APICV_OFF, APICV_DELIVERY, APICV_MMIO, APICV_X2APIC };

/*
 * Guest MSRs that stay in the CPU until the kernel returns to user mode; user-return slots in this
 * order.
 */
enum vmx_urmsr { URMSR_STAR, URMSR_LSTAR, URMSR_SFMASK, NR_URMSRS };

/**
 * struct vmx_vcpu - a vCPU on VMX; (v) unless said otherwise
 * @vcpu: the machine's half, first
 * @vmcs: the VMCS region
 * @sw: for the world switch
 * @host: host state
 * @link: in the list of VMCSs active on @loaded_cpu; that CPU, interrupts off
 * @loaded_cpu: where the VMCS is active, or -1
 * @reason: exit reason of the last exit
 * @intr_info: VM-exit interruption information, if @reason is EXCEPTION_NMI
 * @cpu_ctl: primary controls in the VMCS
 * @cpu2_ctl: secondary controls in the VMCS
 * @entry_ctl: entry controls in the VMCS
 * @cr4_guest: guest-owned bits of CR4
 * @vpid: 0 if there is none
 * @flush: translations are to be flushed before the next entry
 * @blocking: interruptibility state as the VMCS has it
 * @fix_shadow: the shadow must be made to agree with IF, and the pending debug exceptions with TF
 *	and the shadow
 * @l1d_dirty: host data may have come into the L1 data cache since the last flush
 * @segs_avail: BIT(enum seg): @segs holds what the VMCS does
 * @segs: segment registers as read since the last exit
 * @tpr_threshold: TPR threshold in the VMCS
 * @apicv: which of the controls are on, and virtual-interrupt delivery with them
 * @intr_status: guest interrupt status in the VMCS
 * @exit_soon: the preemption timer is set to expire at once
 * @timer: preemption timer in the VMCS
 * @msr_bitmap: MSR bitmap
 * @pml: page-modification log, NULL if there is none
 * @perf: for perf.c, NULL if nothing is switched
 * @pebs_off: entries need PEBS switched off by hand, some time before
 * @urmsr: guest's values of the user-return MSRs
 * @cstar: guest's IA32_CSTAR, which no Intel CPU uses
 * @kernel_gs_base: guest's KERNEL_GS_BASE while it is not in the CPU
 */
struct vmx_vcpu {
	struct vcpu vcpu;
	void *vmcs;
	struct vmx_switch sw;
	struct vmx_host host;
	struct list_head link;
	int loaded_cpu;
	u32 reason;
	u32 intr_info;
	u32 blocking;
	u32 cpu_ctl, cpu2_ctl, entry_ctl;
	unsigned long cr4_guest;
	u32 timer;
	u16 vpid;
	bool exit_soon;
	bool flush;
	bool fix_shadow;
	bool l1d_dirty;
	u8 tpr_threshold;
	u8 apicv;
	u16 intr_status;
	u8 segs_avail;
	struct kvm_segment segs[NR_SEGS];
	unsigned long *msr_bitmap;
	u64 *pml;
	struct vmx_perf *perf;
	bool pebs_off;
	u64 urmsr[NR_URMSRS];
	u64 cstar;
	u64 kernel_gs_base;
};

static inline struct vmx_vcpu *to_vmx(struct vcpu *v)
{
	return container_of(v, struct vmx_vcpu, vcpu);
}

/* caps.c: what the CPU offers */
int vmx_check(struct backend_caps *caps);
/* Does this CPU offer the same as the one the module was loaded on? */
bool vmx_caps_match(void);
/* Tell the log which optional controls are used. */
void vmx_say(void);
/* Take out of KVM_GET_SUPPORTED_CPUID what the controls do not allow. */
void vmx_limit_cpuid(void);

/* hardware.c: per-CPU state */
int vmx_setup(void);
void vmx_unsetup(void);
int vmx_enable(void);
void vmx_disable(void);
void vmx_crash(void);
void vmx_vcpu_load(struct vcpu *v, int cpu);
void vmx_vcpu_put(struct vcpu *v);
/* The VMCS leaves the CPU it is active on. */
void vmx_vmcs_clear(struct vmx_vcpu *vmx);
void vmx_flush_tlb(struct vcpu *v);
/* Carry out the flush; interrupts off. */
void vmx_flush_now(struct vmx_vcpu *vmx);
void vmx_vpid_get(struct vmx_vcpu *vmx);
void vmx_vpid_put(struct vmx_vcpu *vmx);

/* host.c: host state around entries */
void vmx_host_const(void);
void vmx_host_cpu(struct vmx_vcpu *vmx);
/* Interrupts off, before an entry. */
void vmx_host_save(struct vmx_vcpu *vmx);
void vmx_host_restore(struct vmx_vcpu *vmx);

/* l1d.c: the L1 data cache's mitigation */
DECLARE_STATIC_KEY_FALSE(vmx_l1d_wanted);
int vmx_l1d_setup(void);
void vmx_l1d_unsetup(void);
/*
 * Tell the kernel, whose vulnerabilities file shows it, the mode: the in-tree module takes it back,
 * also when it is refused. Any context.
 */
void vmx_l1d_show(void);
void vmx_l1d_flush(struct vmx_vcpu *vmx);

/* perf.c: the host's performance monitoring */
DECLARE_STATIC_KEY_FALSE(vmx_perf_wanted);
void vmx_perf_setup(void);
int vmx_perf_alloc(struct vmx_vcpu *vmx);
void vmx_perf_free(struct vmx_vcpu *vmx);
void vmx_perf_init(struct vmx_vcpu *vmx);
/* Before an entry, interrupts off: what the kernel wants now. */
void vmx_perf_switch(struct vmx_vcpu *vmx);
void vmx_perf_vmfail(struct vmx_vcpu *vmx);

/* pml.c: page-modification logging */
int vmx_pml_alloc(struct vmx_vcpu *vmx);
void vmx_pml_free(struct vmx_vcpu *vmx);
void vmx_pml_init(struct vmx_vcpu *vmx);
/* Directly after an exit, interrupts off, srcu not held. */
void vmx_pml_drain(struct vmx_vcpu *vmx);

/* vmcs.c: control block */
int vmx_vcpu_init(struct vcpu *v);
void vmx_vcpu_destroy(struct vcpu *v);
void vmx_vmcs_init(struct vmx_vcpu *vmx);
void vmx_set_tsc(struct vcpu *v);
void vmx_set_root(struct vcpu *v);
void vmx_update_intercepts(struct vcpu *v);
void vmx_update_cpuid(struct vcpu *v);
void vmx_cpu_ctl(struct vmx_vcpu *vmx, u32 set, u32 clear);
/* Secondary controls follow the guest's CPUID and @apicv. */
void vmx_update_secondary(struct vmx_vcpu *vmx);
void vmx_set_tpr_threshold(struct vmx_vcpu *vmx);
/*
 * The preemption timer: exit directly after the next entry, before its first instruction; at
 * vcpu_apic.due; after some time.
 */
void vmx_timer_now(struct vmx_vcpu *vmx);
void vmx_timer_due(struct vmx_vcpu *vmx, u64 due);
void vmx_timer_default(struct vmx_vcpu *vmx);
void vmx_timer_setup(void);
extern u32 vmx_timer_longest;
u64 vmx_eptp(const struct vmx_vcpu *vmx);

/* apicv.c: virtual-interrupt delivery */
/* Secondary controls that are of no use as things are. */
u32 vmx_apicv_unused(const struct vmx_vcpu *vmx);
void vmx_apicv_update(struct vmx_vcpu *vmx);
void vmx_apicv_prepare(struct vmx_vcpu *vmx);
void vmx_apicv_finish(struct vmx_vcpu *vmx);
enum exit_result vmx_on_eoi(struct vcpu *v);
enum exit_result vmx_on_apic_write(struct vcpu *v);
enum exit_result vmx_on_apic_access(struct vcpu *v);

/*
 * Before an entry: what the APIC has for the CPU. Without virtual-interrupt delivery an exit is due
 * when TPR falls so far that what is pending can be taken.
 */
static __always_inline void vmx_apic_prepare(struct vmx_vcpu *vmx)
{
	if (!(vmx->cpu_ctl & CPU_BASED_TPR_SHADOW))
		return;
	if (vmx->apicv)
		vmx_apicv_prepare(vmx);
	else if (unlikely(lapic_tpr_threshold(&vmx->vcpu.apic->lapic) != vmx->tpr_threshold))
		vmx_set_tpr_threshold(vmx);
}

/* After exits: what the CPU did to it. */
static __always_inline void vmx_apic_finish(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;

	if (!(vmx->cpu_ctl & CPU_BASED_TPR_SHADOW))
		return;
	if (vmx->apicv)
		vmx_apicv_finish(vmx);
	else if (unlikely(lapic_cr8(&v->apic->lapic) != v->cr8))
		apic_tpr_written(v);
}

/* regs.c: registers */
void vmx_reset(struct vcpu *v, bool init);
void vmx_cache_reg(struct vcpu *v, enum reg reg);
void vmx_get_segments(struct vcpu *v, struct emu_seg *seg);
void vmx_get_segment(struct vcpu *v, struct kvm_segment *s, enum seg seg);
void vmx_set_segment(struct vcpu *v, const struct kvm_segment *s, enum seg seg);
void vmx_get_dt(struct vcpu *v, struct kvm_dtable *dt, bool idt);
void vmx_set_dt(struct vcpu *v, const struct kvm_dtable *dt, bool idt);
void vmx_set_cr0(struct vcpu *v);
void vmx_set_cr3(struct vcpu *v);
void vmx_set_cr4(struct vcpu *v);
void vmx_set_efer(struct vcpu *v);
int vmx_cpl(struct vcpu *v);
static inline u8 vmx_shadow(struct vcpu *v)
{
	/* SHADOW_STI and SHADOW_MOV_SS */
	return to_vmx(v)->blocking & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
}
u8 vmx_get_shadow(struct vcpu *v);
void vmx_set_blocking(struct vmx_vcpu *vmx, u32 blocking);
void vmx_set_shadow(struct vcpu *v, u8 shadow);
void vmx_write_shadow(struct vcpu *v, u8 shadow);
u64 vmx_take_pending_dbg(struct vcpu *v);
void vmx_hold_traps(struct vcpu *v);
void vmx_drop_step_trap(void);

/*
 * No single-step trap is due at this exit: the instruction at RIP has not run, or it was completed
 * here and its trap is raised by the caller. Bochs has one pending in the VMCS all the same.
 */
static inline void vmx_no_step_trap(struct vcpu *v)
{
	if (unlikely((vcpu_rflags(v) & X86_EFLAGS_TF) ||
		     (v->cpu.debug.guest_debug & KVM_GUESTDBG_SINGLESTEP)))
		vmx_drop_step_trap();
}

void vmx_sync_debug(struct vcpu *v);
void vmx_set_dr7(struct vcpu *v);
/* RSP, RFLAGS and PDPTRs, where they are dirty */
void vmx_write_regs(struct vmx_vcpu *vmx);

/* enter.c: the world switch and what surrounds it */
void vmx_enter(struct vcpu *v);
/*
 * The VMCS holds back traps, as an instruction made a MOV SS shadow, or as its own exit came before
 * them: they are the queue's until the next entry, and go where the vCPU goes.
 */
void vmx_take_held_traps(struct vmx_vcpu *vmx);
void vmx_after_enter(struct vcpu *v);

/* world.S. switch: true if VMLAUNCH or VMRESUME failed without trying to enter. */
bool vmx_world_switch(struct vmx_switch *sw);
extern const char vmx_exit_point[];
void vmx_host_nmi(void);

/* inject.c: events in and out */
void vmx_inject(struct vcpu *v);
void vmx_windows(struct vcpu *v, const struct event_plan *p);
void vmx_view(struct vcpu *v, struct event_view *view);
void vmx_vectoring(struct vmx_vcpu *vmx, struct event *e);

/* exit.c: exits */
enum exit_result vmx_handle_exit(struct vcpu *v);
void vmx_exit_info(struct vcpu *v, u32 *reason, u64 *info1, u64 *info2);
/* Interrupts off: true if the exit is done and the guest may be entered again. */
bool vmx_fast_exit(struct vmx_vcpu *vmx);
bool vmx_skip(struct vcpu *v);

/* A guest physical access that the tables do not allow, or that goes to registers: ACCESS_* */
enum exit_result vmx_guest_access(struct vcpu *v, u64 gpa, u32 access);

/* access.c: exits by control and debug registers, and task switches */
enum exit_result vmx_on_cr_access(struct vcpu *v);
enum exit_result vmx_on_dr_access(struct vcpu *v);
enum exit_result vmx_on_task_switch(struct vcpu *v);

/* dump.c: why an entry failed */
void vmx_dump(struct vcpu *v);

/* msr.c */
int vmx_vm_init(struct vm *vm);
int vmx_msr_alloc(struct vmx_vcpu *vmx);
void vmx_msr_free(struct vmx_vcpu *vmx);
void vmx_msr_load(struct vmx_vcpu *vmx);
void vmx_msr_reload(struct vmx_vcpu *vmx);
void vmx_update_msr_access(struct vcpu *v);
int vmx_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host);
int vmx_set_msr(struct vcpu *v, u32 msr, u64 val, bool host);

#endif
