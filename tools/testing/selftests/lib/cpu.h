/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Putting a vCPU into a mode, its page tables, and running it until it reports.
 */
#ifndef STRATA_SELFTEST_CPU_H
#define STRATA_SELFTEST_CPU_H

#include "guest.h"
#include "vm.h"

/*
 * Long mode at @fn(@arg): GDT, IDT, TSS and page tables (one to one, 2 MiB pages, 4 GiB, supervisor
 * and writable) are shared by the VM's vCPUs; the stack and struct guest_cpu are this one's.
 */
void vcpu_set_long(struct vcpu *vcpu, void *fn, u64 arg);
/* 32-bit protected mode, flat, no paging, no IDT. */
void vcpu_set_prot(struct vcpu *vcpu, u32 eip);
/* Real mode; segments other than CS are 0, SP is 0x7000. */
void vcpu_set_real(struct vcpu *vcpu, u16 cs, u16 ip);

/* RFLAGS.IF by KVM_SET_REGS */
void vcpu_set_if(struct vcpu *vcpu, bool on);

u32 vcpu_mp_state(struct vcpu *vcpu);
void vcpu_set_mp_state(struct vcpu *vcpu, u32 state);

/* Copies code to GPA_PAYLOAD + offset and returns its guest-physical address. */
u64 vm_load_payload(struct vm *vm, u64 offset, const void *start, const void *end);

/*
 * Returns the level's entry for @gva (1: 4 KiB page, 2: 2 MiB page), splitting and adding tables as
 * needed. The guest sees a change after it flushed its TLB.
 */
u64 *vm_pte(struct vm *vm, u64 gva, int level);
void vm_map_page(struct vm *vm, u64 gva, u64 gpa, u64 flags);

/*
 * For user mode: segments at SEL_USER_CODE and SEL_USER_DATA, and a page, one to one, with PTE_W or
 * PTE_NX if need be.
 */
void vm_user_segments(struct vm *vm);
void vm_user_page(struct vm *vm, u64 gpa, u64 rights);

/*
 * The host gives pages back that the delivery of an event needs, and puts their content into new
 * ones: the guest's next access is a nested page fault.
 */
#define DROP_IDT	1
#define DROP_GDT	2
#define DROP_TSS	4
#define DROP_STACK	8
#define DROP_FAULT_STACK 16	/* FAULT_STACK's, an interrupt stack */
#define DROP_ALL	31

#define FAULT_STACK	(GPA_HEAP + 0x8000)
void vm_drop_pages(struct vm *vm, u32 mask);
/* The same of any page of slot 0 */
void vm_drop_page(struct vm *vm, u64 gpa);

struct guest_cpu *vcpu_report(struct vcpu *vcpu);

/*
 * KVM_RUN until a signal comes: what can be is settled by then, and a vCPU that sleeps is left
 * asleep.
 */
void vcpu_run_briefly(struct vcpu *vcpu);

/* The ways a run may end. */
enum run_end {
	RUN_SYNC,	/* vcpu_sync_value() */
	RUN_DONE,
	RUN_FAILED,	/* the guest's assertion or exception, already reported */
	RUN_OTHER,	/* anything else: look at vcpu->run */
};

/* Runs; guest reports and EINTR are dealt with, all else is returned. */
enum run_end vcpu_run(struct vcpu *vcpu);
/* The same through all stops of STRATA_CAP_EXIT_EACH */
enum run_end vcpu_run_each(struct vcpu *vcpu);
/* How a run ended that returned 0: for those that call vcpu_run_raw() */
enum run_end vcpu_judge(struct vcpu *vcpu);
u64 vcpu_sync_value(struct vcpu *vcpu);

void run_expect(const char *file, int line, struct vcpu *vcpu, u32 exit_reason);
void run_expect_sync(const char *file, int line, struct vcpu *vcpu, u64 value);
void run_expect_done(const char *file, int line, struct vcpu *vcpu);
/* Run, and end the case unless the run ends as named. */
#define RUN_UNTIL(vcpu, reason)		run_expect(__FILE__, __LINE__, vcpu, reason)
#define RUN_UNTIL_SYNC(vcpu, value)	run_expect_sync(__FILE__, __LINE__, vcpu, value)
#define RUN_UNTIL_DONE(vcpu)		run_expect_done(__FILE__, __LINE__, vcpu)

/* The data area of a KVM_EXIT_IO. */
#define RUN_IO_DATA(vcpu) ((void *)((u8 *)(vcpu)->run + (vcpu)->run->io.data_offset))

#endif
