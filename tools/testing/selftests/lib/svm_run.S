/* SPDX-License-Identifier: GPL-2.0 */
/*
 * u64 svm_vmrun(struct svm_vmcb *vmcb): VMRUN with L2's general registers from and to svm_gprs,
 * which is in the order RBX RCX RDX RBP RSI RDI R8..R15. Returns the exit code.
 */
	.macro	gprs insn
	i = 0
	.irp	reg, %rbx, %rcx, %rdx, %rbp, %rsi, %rdi, %r8, %r9, %r10, %r11, %r12, %r13, %r14, %r15
	\insn	\reg, i
	i = i + 8
	.endr
	.endm
	.macro	exchange reg, offset
	xchgq	\reg, svm_gprs + \offset
	.endm

	.text
	.globl	svm_vmrun
svm_vmrun:
	pushq	%rdi
	movq	%rdi, %rax
	gprs	exchange
	vmrun	%rax
	gprs	exchange
	popq	%rdi
	movq	0x70(%rdi), %rax
	ret

	.section .note.GNU-stack, "", @progbits
