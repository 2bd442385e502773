/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMX world switch, and the host's NMI handler called as the CPU would.
 *
 * VM entry and exit switch RSP, RIP, RFLAGS, the control registers, segments, EFER and PAT; general
 * registers and SPEC_CTRL are switched here. Interrupts are off and end the guest; so do NMIs,
 * which are run after the exit.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/segment.h>
#include "../../../include/compat/nmi.h"
#include "../../../include/compat/nospec.h"

/* struct vmx_switch */
#define SW_REGS		(0 * 8)
#define SW_HOST_RSP	(1 * 8)
#define SW_LAUNCHED	(2 * 8)
#define SW_SPEC		(3 * 8)
#define SW_GUEST_SPEC	(4 * 8)
#define SW_HOST_SPEC	(5 * 8)

/* Offsets in vcpu->regs; RSP is in the VMCS */
#define R_AX	(0 * 8)
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

#define HOST_RSP_FIELD	0x6c14
#define SPEC_CTRL	0x48

	.text

/* bool vmx_world_switch(struct vmx_switch *sw) */
SYM_FUNC_START(vmx_world_switch)
	push %rbp
	push %r15
	push %r14
	push %r13
	push %r12
	push %rbx
	push %rdi			/* sw */

	cmp SW_HOST_RSP(%rdi), %rsp
	je 1f
	mov $HOST_RSP_FIELD, %eax
.Lvmwrite:
	vmwrite %rsp, %rax
	jbe .Lfailed
	mov %rsp, SW_HOST_RSP(%rdi)
1:
	cmpq $0, SW_SPEC(%rdi)
	je 2f
	/* No indirect branch or return from here to the entry. */
	mov $SPEC_CTRL, %ecx
	mov SW_GUEST_SPEC(%rdi), %eax
	mov SW_GUEST_SPEC + 4(%rdi), %edx
	wrmsr
2:
	/* CF: the instruction to enter with. It lives through the MOVs and VERW. */
	btl $0, SW_LAUNCHED(%rdi)
	mov SW_REGS(%rdi), %rdi
	mov R_AX(%rdi), %rax
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

	VM_CLEAR_CPU_BUFFERS
	jnc .Lvmlaunch
.Lvmresume:
	vmresume
	jmp 3f
.Lvmlaunch:
	vmlaunch
3:
	jbe .Lfailed

	/* HOST_RIP: the stack is as it was above, the other registers are the guest's. */
SYM_INNER_LABEL(vmx_exit_point, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	push %rax
	mov 8(%rsp), %rax		/* sw */
	mov SW_REGS(%rax), %rax
	pop R_AX(%rax)
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
	xor %eax, %eax			/* entered */

.Lout:
	/*
	 * The guest's return predictions go before the first RET; its register values before
	 * anything speculates with them.
	 */
	FILL_RETURN_BUFFER %rcx, 32, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE
	xor %ecx, %ecx
	xor %edx, %edx
	xor %ebx, %ebx
	xor %esi, %esi
	xor %ebp, %ebp
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	xor %r12d, %r12d
	xor %r13d, %r13d
	xor %r14d, %r14d
	xor %r15d, %r15d

	pop %rdi			/* sw */
	mov %eax, %ebx
	cmpq $0, SW_SPEC(%rdi)
	je 4f
	mov $SPEC_CTRL, %ecx
	mov SW_HOST_SPEC(%rdi), %eax
	mov SW_HOST_SPEC + 4(%rdi), %edx
	wrmsr
4:
	/* Nothing speculates past a switch of SPEC_CTRL that the branch above may have hidden. */
	ALTERNATIVE "", "lfence", X86_FEATURE_MSR_SPEC_CTRL
	CLEAR_BRANCH_HISTORY_VMEXIT
	mov %ebx, %eax
	pop %rbx
	pop %r12
	pop %r13
	pop %r14
	pop %r15
	pop %rbp
	RET

.Lfailed:
	mov $1, %eax
	jmp .Lout
	_ASM_EXTABLE(.Lvmwrite, .Lfailed)
	_ASM_EXTABLE(.Lvmresume, .Lfailed)
	_ASM_EXTABLE(.Lvmlaunch, .Lfailed)
SYM_FUNC_END(vmx_world_switch)

/*
 * void vmx_host_nmi(void)
 *
 * The exit consumed the NMI and left NMIs blocked. The handler's entry without an interrupt stack
 * ends with the IRET that unblocks them and comes back here.
 */
SYM_FUNC_START(vmx_host_nmi)
	push %rbp
	mov %rsp, %rbp
	and $-16, %rsp			/* as the CPU does */
	push $__KERNEL_DS
	push %rbp
	pushf
	push $__KERNEL_CS
	call host_nmi_entry
	mov %rbp, %rsp
	pop %rbp
	RET
SYM_FUNC_END(vmx_host_nmi)
