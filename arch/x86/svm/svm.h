/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The SVM backend's own structures.
 */
#ifndef STRATA_SVM_H
#define STRATA_SVM_H

#include "asid.h"
#include "delivery.h"
#include "../backend.h"

#include <asm/svm.h>
#include <asm/tlbflush.h>

/* VMCB clean bits (APM vol. 2, "VMCB Clean Field") */
enum vmcb_clean {
	CLEAN_INTERCEPTS, CLEAN_PERM_MAP, CLEAN_ASID, CLEAN_INTR, CLEAN_NPT, CLEAN_CR, CLEAN_DR, CLEAN_DT, CLEAN_SEG, CLEAN_CR2,
	CLEAN_LBR, CLEAN_AVIC, CLEAN_CET,
	/* CR2 and the interrupt fields are written before nearly every entry. */
	CLEAN_ALL = 0x1fff,
	CLEAN_KEPT = CLEAN_ALL & ~(BIT(CLEAN_INTR) | BIT(CLEAN_CR2)),
};

/**
 * struct svm_caps - optional hardware, after the module parameters had their say; constant after
 * load
 */
struct svm_caps {
	bool nrips, decode_assists, clean_bits, flush_by_asid, pause_filter, pause_threshold,
		virt_spec_ctrl;
	u32 nr_asids;
};

extern struct svm_caps svm_caps;

/**
 * struct svm_switch - what the world switch needs; read by enter.S, so every member is 8 bytes
 * @vmcb_pa: physical address of the guest's VMCB
 * @host_pa: physical address of this CPU's host VMLOAD area
 * @regs: vcpu->regs
 * @spec_switch: SPEC_CTRL must be switched by hand
 * @guest_spec: guest's SPEC_CTRL
 * @host_spec: host's SPEC_CTRL
 * @save_pa: physical address of the guest's VMLOAD area
 */
struct svm_switch {
	u64 vmcb_pa;
	u64 host_pa;
	unsigned long *regs;
	u64 spec_switch;
	u64 guest_spec;
	u64 host_spec;
	u64 save_pa;
};

/**
 * struct svm_nested - a vCPU that is a hypervisor; see nested.h
 * @vmcb02: control block of L2; NULL until L1 has executed VMRUN
 * @vmcb12: the copy of L1's control block
 * @spare12: where the next KVM_SET_NESTED_STATE reads what may become @vmcb12
 * @current_gpa: the copy, and L2's half of 02, are what was written there at the last #VMEXIT;
 *	NESTED_NO_CURRENT: of none
 * @kept: clean bits of L1 that hold for this VMRUN
 * @msrpm02: both levels' MSR permission maps merged
 * @vmcb12_gpa: where L1 has it
 * @hsave_pa: VM_HSAVE_PA
 * @vm_cr: VM_CR
 * @l1_cr0: L1's CR0 while L2 runs
 * @l1_cr4: L1's CR4 while L2 runs
 * @l1_pat: L1's PAT while L2 runs
 * @gif: the global interrupt flag
 * @window: 02's virtual interrupt is L0's window
 * @pristine: nothing ran since KVM_SET_NESTED_STATE: @vmcb12 is what was set
 * @asid: for each of the MMU's contexts
 */
struct svm_nested {
	struct vmcb *vmcb02;
	struct vmcb *vmcb12;
	struct vmcb *spare12;
	u64 current_gpa;
	u32 kept;
	u32 *msrpm02;
	u64 vmcb12_gpa;
	u64 hsave_pa;
	u64 vm_cr;
	unsigned long l1_cr0;
	unsigned long l1_cr4;
	u64 l1_pat;
	bool gif;
	bool window;
	bool pristine;
	struct svm_asid asid[NESTED_CONTEXTS];
};

#define NESTED_NO_CURRENT	(~0ull)

/**
 * struct svm_vcpu - a vCPU on SVM; (v)
 * @vcpu: the machine's half, first
 * @vmcb: control block in use
 * @vmcb01: control block of L1; holds what VMLOAD and VMSAVE switch for both levels
 * @sw: for the world switch
 * @asid: that of @vmcb
 * @asid01: that of @vmcb01
 * @msrpm: MSR permission map
 * @soft: the soft event that goes in, with RIP moved over its instruction
 * @step: the next entry is to stop behind one instruction, to open the NMI window; over when the
 *	entry is
 * @step_own_tf: the guest's own TF when it began
 * @step_rip: the IRET that is stepped over
 * @stepped: the #DB exit being handled is that stop
 * @own_tpr: V_TPR is L2's, not CR8 of the vCPU
 * @seen: what the CPU knows of 01 and of 02; NULL: nobody watches the clean bits
 * @nested: nested virtualization
 */
struct svm_vcpu {
	struct vcpu vcpu;
	struct vmcb *vmcb;
	struct vmcb *vmcb01;
	struct svm_switch sw;
	struct svm_asid *asid;
	struct svm_asid asid01;
	u32 *msrpm;
	struct svm_soft soft;
	u8 step;
	bool step_own_tf;
	bool stepped;
	bool own_tpr;
	unsigned long step_rip;
	struct svm_seen *seen;
	struct svm_nested nested;
};

/* What is stepped over: an instruction under a shadow, or an IRET that ends the blocking of NMIs */
enum svm_step { STEP_NOT, STEP_SHADOW, STEP_IRET };

static inline struct svm_vcpu *to_svm(struct vcpu *v)
{
	return container_of(v, struct svm_vcpu, vcpu);
}

static inline void vmcb_dirty(struct vmcb *vmcb, enum vmcb_clean bit)
{
	vmcb->control.clean &= ~BIT(bit);
}

/* Write a field of a control block, which leaves the CPU's copy of it good if it was the same. */
#define vmcb_update(vmcb, field, value, bit)				\
	do {								\
		typeof((vmcb)->field) value_ = (value);			\
									\
		if ((vmcb)->field != value_) {				\
			(vmcb)->field = value_;				\
			vmcb_dirty(vmcb, bit);				\
		}							\
	} while (0)

static inline void vmcb_intercept(struct vmcb *vmcb, unsigned int bit)
{
	__set_bit(bit, (unsigned long *)&vmcb->control.intercepts);
	vmcb_dirty(vmcb, CLEAN_INTERCEPTS);
}

static inline void vmcb_pass(struct vmcb *vmcb, unsigned int bit)
{
	__clear_bit(bit, (unsigned long *)&vmcb->control.intercepts);
	vmcb_dirty(vmcb, CLEAN_INTERCEPTS);
}

/*
 * What a guest runs with: with MCE clear a machine check would be a shutdown of its own, although
 * it is the host's. Reads of CR4 exit.
 */
static inline u64 svm_cr4(u64 cr4)
{
	return cr4 | (cr4_read_shadow() & X86_CR4_MCE);
}

static inline bool vmcb_intercepts(const struct vmcb *vmcb, unsigned int bit)
{
	return test_bit(bit, (const unsigned long *)&vmcb->control.intercepts);
}

/* clean.c: the clean bits under watch, if that was asked for */
bool svm_clean_check(void);
int svm_clean_setup(void);
void svm_clean_unsetup(void);
int svm_clean_vcpu_init(struct svm_vcpu *svm);
void svm_clean_vcpu_destroy(struct svm_vcpu *svm);

/* vmcb.c: control block and registers */
int svm_vcpu_init(struct vcpu *v);
void svm_vcpu_destroy(struct vcpu *v);
void svm_reset(struct vcpu *v, bool init);
void svm_cache_reg(struct vcpu *v, enum reg reg);
void svm_get_segments(struct vcpu *v, struct emu_seg *seg);
void svm_get_segment(struct vcpu *v, struct kvm_segment *s, enum seg seg);
void svm_set_segment(struct vcpu *v, const struct kvm_segment *s, enum seg seg);
void svm_get_dt(struct vcpu *v, struct kvm_dtable *dt, bool idt);
void svm_set_dt(struct vcpu *v, const struct kvm_dtable *dt, bool idt);
void svm_set_cr0(struct vcpu *v);
void svm_set_cr3(struct vcpu *v);
void svm_set_cr4(struct vcpu *v);
void svm_set_efer(struct vcpu *v);
int svm_cpl(struct vcpu *v);
u8 svm_shadow(struct vcpu *v);
void svm_set_shadow(struct vcpu *v, u8 shadow);
u64 svm_take_pending_dbg(struct vcpu *v);
void svm_set_tsc(struct vcpu *v);
void svm_set_root(struct vcpu *v);
void svm_sync_debug(struct vcpu *v);
void svm_set_dr7(struct vcpu *v);
void svm_update_intercepts(struct vcpu *v);
void svm_update_cpuid(struct vcpu *v);
void svm_dump(struct vcpu *v);

/* hardware.c: per-CPU state */
int svm_check(struct backend_caps *caps);
int svm_setup(void);
void svm_unsetup(void);
int svm_enable(void);
void svm_disable(void);
void svm_vcpu_load(struct vcpu *v, int cpu);
void svm_vcpu_put(struct vcpu *v);
/**
 * struct svm_cpu - one host CPU; interrupts off
 * @hsave: page for VM_HSAVE_PA
 * @host: page that VMSAVE and VMLOAD use for the host's state
 * @asids: its ASIDs
 * @vmcb: control block that ran here last, L1's or L2's, for the branch predictor barrier
 */
struct svm_cpu {
	struct page *hsave;
	struct page *host;
	struct svm_asids asids;
	struct vmcb *vmcb;
};

DECLARE_PER_CPU(struct svm_cpu, svm_cpu);

/* An ASID of this CPU's current generation for the VMCB; interrupts off. */
void svm_new_asid(struct svm_vcpu *svm);
/* The control block that is used next goes by this ASID. */
void svm_use_asid(struct svm_vcpu *svm, struct svm_asid *a);
/* All translations of the vCPU */
void svm_flush_tlb(struct vcpu *v);
/* What one ASID tags goes before it is used again. */
static inline void svm_flush_asid(struct svm_asid *a)
{
	a->gen = 0;
}
/* One address of what an ASID tags, now */
void svm_flush_addr(struct svm_vcpu *svm, const struct svm_asid *a, u64 linear);

/* enter.c: the world switch and what surrounds it */
void svm_enter(struct vcpu *v);
void svm_after_enter(struct vcpu *v);
void svm_world_switch(struct svm_switch *sw);

/* inject.c: events in and out */
void svm_inject(struct vcpu *v);
void svm_injection_failed(struct svm_vcpu *svm);
/*
 * Where the soft event in delivery returns to. L1's: L1 says so, in the control block, or without
 * that field by RIP.
 */
unsigned long svm_soft_return(struct svm_vcpu *svm);
void svm_windows(struct vcpu *v, const struct event_plan *p);
void svm_view(struct vcpu *v, struct event_view *view);
void svm_vectoring(struct svm_vcpu *svm, struct event *e);
/* Around the entry that svm_vcpu.step asks to be a single step; interrupts off. */
void svm_step_begin(struct svm_vcpu *svm);
void svm_step_end(struct svm_vcpu *svm);

/* exit.c: exits */
enum exit_result svm_handle_exit(struct vcpu *v);
void svm_exit_info(struct vcpu *v, u32 *reason, u64 *info1, u64 *info2);
/* Interrupts off: true if the exit is done and the guest may be entered again. */
bool svm_fast_exit(struct svm_vcpu *svm);
bool svm_skip(struct vcpu *v);

/* msr.c */
int svm_msrpm_alloc(struct svm_vcpu *svm);
void svm_msrpm_free(struct svm_vcpu *svm);
/* Number of an MSR's read bit in a permission map, -1 if it has none */
int svm_msrpm_bit(u32 msr);
void svm_update_msr_access(struct vcpu *v);
int svm_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host);
int svm_set_msr(struct vcpu *v, u32 msr, u64 val, bool host);
extern u64 svm_iopm_pa;

#endif
