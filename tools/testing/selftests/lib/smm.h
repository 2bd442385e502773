/* SPDX-License-Identifier: GPL-2.0 */
/*
 * System management mode: SMRAM in the second address space with a handler that reports by OUT.
 */
#ifndef STRATA_SELFTEST_SMM_H
#define STRATA_SELFTEST_SMM_H

#include "cpu.h"

/* Behind slot 0: there is memory in the second address space only. Two places for SMBASE. */
#define SMRAM_GPA	0x1000000ull
#define SMRAM_GPA2	0x1010000ull
#define SMRAM_SIZE	0x20000ull
#define SMM_SAVE	0xfe00
#define SMM_ENTRY	0x8000

#define PORT_SMM	0x77	/* the handler is there */
#define PORT_LOOP	0x78	/* so is payload_loop */

#define MSR_SMBASE	0x9e
#define MSR_SMI_COUNT	0x34

/* In the save area, from its start: 64-bit map */
#define S64_CS		0x010
#define S64_SS		0x020
#define S64_TR		0x090
#define S64_AUTO_HALT	0x0c9
#define S64_SHADOW	0x0cb
#define S64_EFER	0x0d0
#define S64_REVISION	0x0fc
#define S64_SMBASE	0x100
#define S64_CR4		0x148
#define S64_CR3		0x150
#define S64_CR0		0x158
#define S64_DR7		0x160
#define S64_DR6		0x168
#define S64_RFLAGS	0x170
#define S64_RIP		0x178
#define S64_RAX		0x1f8

/* OUT to PORT_LOOP for ever, changing nothing; the same bytes in every mode. */
extern const char payload_loop[], payload_loop_end[];
/* The handler that smm_prepare() installs: OUT to PORT_SMM, RSM */
extern const char smm_handler[], smm_handler_end[];

/*
 * Slot 0 and SMRAM in the second address space, the handler at both places, SMBASE of all vCPUs at
 * SMRAM_GPA. Skips the case where there is no SMM. Returns SMRAM.
 */
u8 *smm_prepare(struct vm *vm, unsigned int nr_vcpus);
/* A VM with a guest in long mode in payload_loop, stopped there once. */
struct vm *smm_looping_vm(u8 **smram);
void smm_set_handler(u8 *smram, const void *start, const void *end);

/* Runs until OUT to the port. */
void run_expect_port(const char *file, int line, struct vcpu *vcpu, u16 port);
#define RUN_UNTIL_PORT(vcpu, port) run_expect_port(__FILE__, __LINE__, vcpu, port)
#define RUN_UNTIL_SMM(vcpu) RUN_UNTIL_PORT(vcpu, PORT_SMM)
#define RUN_UNTIL_LOOP(vcpu) RUN_UNTIL_PORT(vcpu, PORT_LOOP)

/* What KVM_GET_* say of a vCPU, comparable. */
struct smm_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debug;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	u64 smbase;
};

void smm_get_state(struct vcpu *vcpu, struct smm_state *s);
void smm_set_state(struct vcpu *vcpu, const struct smm_state *s);

/* Little-endian field of SMRAM */
u64 smm_field(const u8 *smram, unsigned int at, unsigned int len);
void smm_set_field(u8 *smram, unsigned int at, unsigned int len, u64 val);
#define S64(smram, field) smm_field(smram, SMM_SAVE + S64_##field, 8)

#endif
