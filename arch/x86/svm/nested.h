/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Nested SVM: the state, and what the rest of the backend calls.
 *
 * 01 is the control block L1 runs on, 12 the one L1 wrote for L2, 02 the one L2 runs on. 12 is
 * copied once, at VMRUN, and only the copy is looked at. What VMLOAD and VMSAVE switch is common to
 * both levels and always in 01.
 */
#ifndef STRATA_SVM_NESTED_H
#define STRATA_SVM_NESTED_H

#include "svm.h"
#include "../nested/nested.h"

/* V_IRQ and what belongs to it */
#define INT_CTL_VIRQ	(V_IRQ_MASK | V_INTR_PRIO_MASK | V_IGN_TPR_MASK)

/* The vCPU runs L2 and L1 set this intercept. @bit is INTERCEPT_*, which is the exit code too. */
static inline bool l1_intercepts(const struct svm_vcpu *svm, unsigned int bit)
{
	return vmcb_intercepts(svm->nested.vmcb12, bit);
}

/* L2's virtual interrupts and TPR are its own (V_INTR_MASKING of L1). */
static inline bool l2_masks(const struct svm_vcpu *svm)
{
	return svm->nested.vmcb12->control.int_ctl & V_INTR_MASKING_MASK;
}

/* L2 has a GIF of its own: vGIF. */
static inline bool l2_has_gif(const struct svm_vcpu *svm)
{
	return (svm->nested.vmcb12->control.int_ctl & V_GIF_ENABLE_MASK) &&
	       guest_has(&svm->vcpu, GUEST_VGIF);
}

static inline bool l1_pages(const struct svm_vcpu *svm)
{
	return svm->nested.vmcb12->control.nested_ctl & SVM_NESTED_CTL_NP_ENABLE;
}

/*
 * nested_copy.c: 12 in guest memory. -EFAULT if it is not there. What L1's clean bits say it did
 * not touch is not read again, if the copy is of this
 * address: svm_nested.kept.
 */
int nested_copy_in(struct svm_vcpu *svm, u64 gpa);
int nested_copy_out(struct svm_vcpu *svm, u64 gpa);
/* Only the exit code, for an entry that was refused */
int nested_copy_refusal(struct svm_vcpu *svm, u64 gpa);
/* Some words of a page of L1's */
int nested_copy_words(struct svm_vcpu *svm, u64 gpa, const u16 *index, unsigned int nr, u32 *words);
/* VMLOAD (@load) and VMSAVE between guest memory and 01 */
int nested_copy_vmload(struct svm_vcpu *svm, u64 gpa, bool load);

/* nested_build.c: 02 from 01 and 12 */
void nested_build_controls(struct svm_vcpu *svm);
void nested_build_intercepts(struct svm_vcpu *svm);
/* L1's MSR permission map, as far as 01's lets anything through. -EFAULT if it is not memory. */
int nested_merge_msrpm(struct svm_vcpu *svm);
/* V_IRQ and TPR of L2 as they are now, into 12 */
void nested_sync_virq(struct svm_vcpu *svm);
/* 02's virtual interrupt: L0's window, or L1's as far as L2 may take it */
void nested_put_virq(struct svm_vcpu *svm);
/* V_GIF, or V_TPR without V_INTR_MASKING, changes. */
void nested_set_int_ctl(struct svm_vcpu *svm, u32 mask, u32 val);
/* L1's virtual interrupt is one that ends a HLT of L2's. */
bool nested_virq_wakes(struct svm_vcpu *svm);

/* nested.c: the switch */
enum exit_result nested_vmrun(struct vcpu *v);
/**
 * nested_vmexit() - from L2 to L1
 * @svm: the vCPU, in L2
 * @code: exit code
 * @info1: EXITINFO1
 * @info2: EXITINFO2
 * @p: @vectoring is what was being delivered
 */
enum exit_result nested_vmexit(struct svm_vcpu *svm, s64 code, u64 info1, u64 info2,
			       const struct event_plan *p);
/* The MMU's half of going to L2; as mmu_nested_enter(). @l1_pat: L1's PAT */
int nested_enter_mmu(struct svm_vcpu *svm, u64 l1_pat);
int nested_alloc(struct svm_vcpu *svm);
void nested_free(struct svm_vcpu *svm);
/* The ASID of the context L2 runs in */
struct svm_asid *nested_asid(struct svm_vcpu *svm);
/* To 02 or to 01, nothing else: no register is changed */
void nested_use_02(struct svm_vcpu *svm);
void nested_use_01(struct svm_vcpu *svm);
/* L1's registers, from 01 */
void nested_load_l1(struct svm_vcpu *svm);
/* Limits for svm_check_entry() */
struct svm_limits;
void nested_limits(struct vcpu *v, struct svm_limits *l);
struct svm_entry;
void nested_entry(const struct vmcb *vmcb, struct svm_entry *e);
/* EVENTINJ as an event of the queue */
struct event nested_injected(const struct vmcb *vmcb12);

/* nested_exit.c: whose exit it is */
/**
 * nested_handle_exit() - L2 has exited
 * @svm: the vCPU
 * @r: outcome if it was L1's
 *
 * Return: L1 has it; else it is L0's to handle.
 */
bool nested_handle_exit(struct svm_vcpu *svm, enum exit_result *r);
/* Interrupts off: L2's exit may be handled at once, as it is L0's alone */
bool nested_fast_exit(struct svm_vcpu *svm);
enum exit_result nested_planned_exit(struct vcpu *v, const struct event_plan *p);
/* Nested page fault in the CPU, L1 using nested paging */
enum exit_result nested_page_fault(struct svm_vcpu *svm);
/* One that an emulated access of L2's met */
enum exit_result nested_emulated_fault(struct vcpu *v);

/* L1 intercepts the instruction that the emulator is about to execute for L2. May sleep. */
struct emu;
bool nested_intercepts(struct vcpu *v, const struct emu *e);

/* nested_insn.c */
enum exit_result nested_vmload(struct vcpu *v);
enum exit_result nested_vmsave(struct vcpu *v);
enum exit_result nested_stgi(struct vcpu *v);
enum exit_result nested_clgi(struct vcpu *v);
enum exit_result nested_invlpga(struct vcpu *v);
int nested_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host);
/*
 * L2 reads the TSC as an MSR, and L1 lets it: what RDTSC would give. False: it is another access.
 */
bool nested_rdmsr_tsc(struct svm_vcpu *svm);
int nested_set_msr(struct vcpu *v, u32 msr, u64 val, bool host);
/* #UD or #GP of an SVM instruction; true if one was raised */
bool nested_insn_faults(struct vcpu *v);
/* RAX as an address of the current address size */
u64 nested_insn_address(struct vcpu *v);
bool nested_page_address(struct vcpu *v, u64 gpa);

/* nested_smm.c: the backend's operations */
struct smram_state;
int nested_smm_save(struct vcpu *v, struct smram_state *s);
void nested_smm_leave(struct vcpu *v);
int nested_rsm(struct vcpu *v, const struct smram_state *s);

/* nested_state.c */
/* 12 as it is now, while L2 runs */
void nested_sync_control(struct svm_vcpu *svm);
/* What can be said about a saved state by itself; the rest is checked before the next entry. */
bool nested_state_valid(struct vcpu *v, const struct vmcb *vmcb, bool run_pending);
/* L2 runs from now on. *@page becomes the copy; what was the copy is returned there. */
void nested_state_load(struct svm_vcpu *svm, const struct kvm_nested_state *head,
		       struct vmcb **page);
int nested_state_get(struct vcpu *v, struct kvm_nested_state __user *user);
int nested_state_set(struct vcpu *v, const struct kvm_nested_state *head,
		     const struct kvm_nested_state __user *user);
enum exit_result nested_pages(struct vcpu *v);

#endif
