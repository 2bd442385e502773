/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The SVM world switch. GIF is 0: neither interrupts nor NMIs come between.
 *
 * VMRUN switches RAX, RSP, RIP, RFLAGS, segments, CR0, CR3, CR4 and EFER; VMSAVE and VMLOAD the
 * rest of the segment state and the syscall MSRs. Between VMRUN and the host's VMLOAD the GS base
 * is the guest's: no per-CPU data.
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include "../../../include/compat/nospec.h"

/* struct svm_switch */
#define SW_VMCB		(0 * 8)
#define SW_HOST		(1 * 8)
#define SW_REGS		(2 * 8)
#define SW_SPEC		(3 * 8)
#define SW_GUEST_SPEC	(4 * 8)
#define SW_HOST_SPEC	(5 * 8)
#define SW_SAVE		(6 * 8)

/* Offsets in vcpu->regs; RAX and RSP are in the VMCB */
#define R_CX	(1 * 8)
#define R_DX	(2 * 8)
#define R_BX	(3 * 8)
#define R_BP	(5 * 8)
#define R_SI	(6 * 8)
#define R_DI	(7 * 8)
#define R_8	(8 * 8)
#define R_9	(9 * 8)
#define R_10	(10 * 8)
#define R_11	(11 * 8)
#define R_12	(12 * 8)
#define R_13	(13 * 8)
#define R_14	(14 * 8)
#define R_15	(15 * 8)

#define SPEC_CTRL 0x48

	.text

/* void svm_world_switch(struct svm_switch *sw) */
SYM_FUNC_START(svm_world_switch)
	push %rbp
	mov %rsp, %rbp
	push %r15
	push %r14
	push %r13
	push %r12
	push %rbx
	push %rdi			/* sw */
	push SW_HOST(%rdi)
	push SW_REGS(%rdi)
	push SW_SAVE(%rdi)

	cmpq $0, SW_SPEC(%rdi)
	je 1f
	/* No indirect branch or return from here to VMRUN. */
	mov $SPEC_CTRL, %ecx
	mov SW_GUEST_SPEC(%rdi), %eax
	mov SW_GUEST_SPEC + 4(%rdi), %edx
	wrmsr
1:
	mov SW_SAVE(%rdi), %rax
	vmload %rax
	mov SW_VMCB(%rdi), %rax
	mov SW_REGS(%rdi), %rdi
	mov R_CX(%rdi), %rcx
	mov R_DX(%rdi), %rdx
	mov R_BX(%rdi), %rbx
	mov R_BP(%rdi), %rbp
	mov R_SI(%rdi), %rsi
	mov R_8(%rdi), %r8
	mov R_9(%rdi), %r9
	mov R_10(%rdi), %r10
	mov R_11(%rdi), %r11
	mov R_12(%rdi), %r12
	mov R_13(%rdi), %r13
	mov R_14(%rdi), %r14
	mov R_15(%rdi), %r15
	mov R_DI(%rdi), %rdi

	/* With IF set and GIF clear, physical interrupts are held until VMRUN and end the guest. */
	sti
	VM_CLEAR_CPU_BUFFERS
	vmrun %rax
	cli
	pop %rax			/* the guest's VMLOAD area */
	vmsave %rax
	mov 8(%rsp), %rax
	vmload %rax

	pop %rax			/* regs */
	mov %rcx, R_CX(%rax)
	mov %rdx, R_DX(%rax)
	mov %rbx, R_BX(%rax)
	mov %rbp, R_BP(%rax)
	mov %rsi, R_SI(%rax)
	mov %rdi, R_DI(%rax)
	mov %r8, R_8(%rax)
	mov %r9, R_9(%rax)
	mov %r10, R_10(%rax)
	mov %r11, R_11(%rax)
	mov %r12, R_12(%rax)
	mov %r13, R_13(%rax)
	mov %r14, R_14(%rax)
	mov %r15, R_15(%rax)

	/*
	 * The guest's return predictions go before the first RET; its register values before
	 * anything speculates with them.
	 */
	FILL_RETURN_BUFFER %rax, 32, X86_FEATURE_RSB_VMEXIT
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	xor %r12d, %r12d
	xor %r13d, %r13d
	xor %r14d, %r14d
	xor %r15d, %r15d
	xor %ecx, %ecx
	xor %edx, %edx
	xor %ebx, %ebx
	xor %esi, %esi
	xor %ebp, %ebp

	add $8, %rsp			/* host area */
	pop %rdi			/* sw */
	cmpq $0, SW_SPEC(%rdi)
	je 2f
	mov $SPEC_CTRL, %ecx
	mov SW_HOST_SPEC(%rdi), %eax
	mov SW_HOST_SPEC + 4(%rdi), %edx
	wrmsr
2:
	UNTRAIN_RET_VM
	pop %rbx
	pop %r12
	pop %r13
	pop %r14
	pop %r15
	pop %rbp
	RET
SYM_FUNC_END(svm_world_switch)
