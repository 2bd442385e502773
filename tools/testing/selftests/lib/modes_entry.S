/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guests of modes.c: a program that opens itself to whatever waits, and handlers that write
 * down what comes, for 64, 32 and 16 bits. What they write, and where, is in modes.h.
 */
#include "modes.h"

#define AT(field)	(MODES_LOG + MODES_ENTRY + (field))
#define DR6_INIT	0xffff0ff0
#define TF		0x100
#define IF		0x200
#define VM		0x20000

/* The beginning is long enough for any soft event to return to. */
	.macro	program
	.rept	32
	nop
	.endr
	int	$MODES_INT
	sti
	nop
	nop
	movw	%ss, %ax
	movw	%ax, %ss
	nop
	nop
	movw	$MODES_END, %dx
	.endm

/* ---- 64 bits: the CPU aligns the stack, so it tells whether there is an error code ---- */

	.text
	.code64
	.globl	modes_start64, modes_vectors64
modes_start64:
	program
1:	outb	%al, %dx
	jmp	1b

	.balign	16
modes_vectors64:
vector = 0
	.rept	256
	.balign	16
	pushq	$vector
	jmp	common64
vector = vector + 1
	.endr

common64:
	pushq	%rax
	pushq	%rbx
	pushq	%rcx
	pushq	%rdx
	leaq	40(%rsp), %rdx
	xorl	%eax, %eax
	testb	$8, %spl
	jz	1f
	movl	(%rdx), %eax
	addq	$8, %rdx
1:	movl	32(%rsp), %ecx
	cmpb	$0, guest_under_tcg
	je	2f
	cmpl	$MODES_EXTERNAL, %ecx
	jb	2f
	testl	$IF, 16(%rdx)
	jz	4f
2:	movl	MODES_LOG, %ebx
	cmpl	$MODES_ENTRIES, %ebx
	jae	4f
	shll	$5, %ebx
	movl	%ecx, AT(0)(%rbx)
	movl	%eax, AT(4)(%rbx)
	movl	(%rdx), %eax
	movl	%eax, AT(8)(%rbx)
	movl	16(%rdx), %eax
	movl	%eax, AT(12)(%rbx)
	movq	%cr2, %rax
	cmpl	$14, %ecx
	je	3f
	xorl	%eax, %eax
	cmpl	$1, %ecx
	jne	3f
	andl	$~TF, 16(%rdx)
	movl	$DR6_INIT, %eax
	movq	%dr6, %rcx
	movq	%rax, %dr6
	movq	%rcx, %rax
3:	movl	%eax, AT(16)(%rbx)
	incl	MODES_LOG
4:	popq	%rdx
	popq	%rcx
	popq	%rbx
	popq	%rax
	addq	$8, %rsp
	testb	$8, %spl
	jnz	5f
	addq	$8, %rsp
5:	iretq

/* ---- 32 bits: there is an error code unless CS is where it is without one ---- */

	.code32
	.globl	modes_start32, modes_vectors32
modes_start32:
	program
1:	outb	%al, %dx
	jmp	1b

	.balign	16
modes_vectors32:
vector = 0
	.rept	256
	.balign	16
	pushl	$vector
	jmp	common32
vector = vector + 1
	.endr

common32:
	pushl	%eax
	pushl	%ebx
	pushl	%ecx
	pushl	%edx
	movl	$MODES_DATA, %eax
	movl	%eax, %ds
	leal	20(%esp), %edx
	xorl	%eax, %eax
	cmpw	$MODES_CODE32, 4(%edx)
	je	1f
	cmpw	$MODES_CS16, 4(%edx)
	je	1f
	movl	(%edx), %eax
	addl	$4, %edx
1:	movl	16(%esp), %ecx
	cmpb	$0, guest_under_tcg
	je	2f
	cmpl	$MODES_EXTERNAL, %ecx
	jb	2f
	testl	$IF, 8(%edx)
	jz	4f
2:	movl	MODES_LOG, %ebx
	cmpl	$MODES_ENTRIES, %ebx
	jae	4f
	shll	$5, %ebx
	movl	%ecx, AT(0)(%ebx)
	movl	%eax, AT(4)(%ebx)
	movl	(%edx), %eax
	movl	%eax, AT(8)(%ebx)
	movl	8(%edx), %eax
	movl	%eax, AT(12)(%ebx)
	movl	%cr2, %eax
	cmpl	$14, %ecx
	je	3f
	xorl	%eax, %eax
	cmpl	$1, %ecx
	jne	3f
	andl	$~TF, 8(%edx)
	movl	$DR6_INIT, %eax
	movl	%dr6, %ecx
	movl	%eax, %dr6
	movl	%ecx, %eax
3:	movl	%eax, AT(16)(%ebx)
	incl	MODES_LOG
	/* User mode may not use ports: that is how a program in virtual-8086 mode ends. */
	testl	$VM, 8(%edx)
	jz	4f
	cmpl	$(modes_end16 - modes_start16), (%edx)
	jne	4f
	cmpl	$13, 16(%esp)
	jne	4f
	movw	$MODES_END, %dx
6:	outb	%al, %dx
	jmp	6b
4:	popl	%edx
	popl	%ecx
	popl	%ebx
	popl	%eax
	addl	$4, %esp
	cmpw	$MODES_CODE32, 4(%esp)
	je	5f
	cmpw	$MODES_CS16, 4(%esp)
	je	5f
	addl	$4, %esp
5:	iret

/* ---- 16 bits, copied to MODES_CS16:0; DS is 0. There are no error codes. ---- */

	.code16
	.globl	modes_start16, modes_end16, modes_vectors16, modes_stop16
modes_start16:
	program
modes_end16:
	outb	%al, %dx
	jmp	modes_end16

modes_vectors16:
vector = 0
	.rept	256
	.byte	0x68		/* PUSH, JMP */
	.word	vector
	.byte	0xe9
	.word	common16 - . - 2
vector = vector + 1
	.endr

common16:
	pushl	%eax
	pushl	%ebx
	pushl	%ecx
	pushw	%bp
	movw	%sp, %bp
	movzwl	14(%bp), %ecx
	cmpw	$0, MODES_TCG
	je	2f
	cmpw	$MODES_EXTERNAL, %cx
	jb	2f
	testw	$IF, 20(%bp)
	jz	4f
2:	movl	MODES_LOG, %ebx
	cmpl	$MODES_ENTRIES, %ebx
	jae	4f
	shll	$5, %ebx
	movl	%ecx, AT(0)(%ebx)
	movl	$0, AT(4)(%ebx)
	movzwl	16(%bp), %eax
	movl	%eax, AT(8)(%ebx)
	movzwl	20(%bp), %eax
	movl	%eax, AT(12)(%ebx)
	movl	%cr2, %eax
	cmpw	$14, %cx
	je	3f
	xorl	%eax, %eax
	cmpw	$1, %cx
	jne	3f
	andw	$~TF, 20(%bp)
	movl	$DR6_INIT, %eax
	movl	%dr6, %ecx
	movl	%eax, %dr6
	movl	%ecx, %eax
3:	movl	%eax, AT(16)(%ebx)
	incl	MODES_LOG
4:	popw	%bp
	popl	%ecx
	popl	%ebx
	popl	%eax
	addw	$2, %sp
	iretw
modes_stop16:

/*
 * Where a processor starts after INIT, and after a SIPI, where events may come: the same bytes
 * anywhere
 */
	.globl	modes_reset, modes_reset_end, modes_sipi, modes_sipi_end
modes_reset:
	movw	$MODES_RESET, %dx
1:	outb	%al, %dx
	jmp	1b
modes_reset_end:

modes_sipi:
	.rept	32
	nop
	.endr
	movw	$MODES_SIPI, %dx
1:	outb	%al, %dx
	jmp	1b
modes_sipi_end:

/* SMI: written down as a vector that no interrupt has */
	.globl	modes_smi, modes_smi_end
modes_smi:
	movl	MODES_LOG, %ebx
	cmpl	$MODES_ENTRIES, %ebx
	jae	1f
	shll	$5, %ebx
	movl	$MODES_SMI, AT(0)(%ebx)
	incl	MODES_LOG
1:	rsm
modes_smi_end:

	.section .note.GNU-stack, "", @progbits
