/* SPDX-License-Identifier: GPL-2.0 */
/*
 * u64 svm_vmrun_mode(struct svm_vmcb *vmcb, u64 cr3, u64 cr4, u64 efer): VMRUN by an L1 whose
 * paging mode these registers make, in 32-bit code (compatibility mode, if EFER.LME is set). All
 * addresses are below 4G and mapped one to one by both tables. L2's general registers are what they
 * happen to be. Returns the exit code.
 */
#define SEL_CODE64	0x08
#define SEL_CODE32	0x18
#define MSR_EFER	0xc0000080
#define EFER_LME	0x100
#define EFER_LMA	0x400
#define CR0_PG		0x80000000

	.text
	.globl	svm_vmrun_mode
svm_vmrun_mode:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, old_rsp
	movl	%edi, vmcb
	movl	%edx, new_cr4
	movl	%ecx, new_efer
	movq	%cr3, %rax
	movq	%rax, old_cr3
	movq	%cr4, %rax
	movq	%rax, old_cr4
	movl	$MSR_EFER, %ecx
	rdmsr
	andl	$~EFER_LMA, %eax	/* not to be written while paging is off */
	movl	%eax, old_efer
	pushq	$SEL_CODE32
	pushq	$1f
	lretq

	.code32
	/* Paging off, and on in the other mode: ESI is CR3 */
1:	movl	new_cr4, %ebx
	movl	new_efer, %ebp
	call	switch_mode
	movl	vmcb, %eax
	vmrun	%eax
	movl	old_cr3, %esi
	movl	old_cr4, %ebx
	movl	old_efer, %ebp
	call	switch_mode
	ljmp	$SEL_CODE64, $2f

switch_mode:
	movl	%cr0, %eax
	andl	$~CR0_PG, %eax
	movl	%eax, %cr0
	/* QEMU 7.2 hangs with LME set and PAE clear. */
	movl	$MSR_EFER, %ecx
	movl	%ebp, %eax
	andl	$~EFER_LME, %eax
	xorl	%edx, %edx
	wrmsr
	movl	%ebx, %cr4
	movl	%esi, %cr3
	movl	%ebp, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$CR0_PG, %eax
	movl	%eax, %cr0
	ret

	.code64
2:	movq	old_rsp, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	movl	vmcb, %eax
	movq	0x70(%rax), %rax
	ret

	.bss
	.balign	8
old_rsp:	.quad	0
old_cr3:	.quad	0
old_cr4:	.quad	0
old_efer:	.long	0
new_cr4:	.long	0
new_efer:	.long	0
vmcb:		.long	0

	.section .note.GNU-stack, "", @progbits
