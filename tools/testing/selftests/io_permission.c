// SPDX-License-Identifier: GPL-2.0
/*
 * What: IN, OUT, INS and OUTS in user mode under the I/O permission map of a 64-bit TSS: ports that
 * are allowed, one that is not, one beside it that an access of two bytes takes in, one beyond the
 * map. With TR as LTR loads it, and as KVM_SET_SREGS does, which is what restoring comes to.
 * Conditions: the second on CPUs whose map counts whatever type of TSS TR has.
 * Expected: what is allowed exits to userspace, INS and OUTS, which strata emulates, as well; all
 * else is #GP at its instruction. That is the CPU's doing, which looks at the map before it exits:
 * what the emulator refuses is in its unit suite.
 */
#include <string.h>

#include "cpu.h"
#include "emulator.h"

#define USER_CODE	(GPA_HEAP + 0x2000)
#define USER_DATA	(GPA_HEAP + 0x4000)
#define TSS_LIMIT	0xff
#define MAP		0x68	/* behind the TSS, up to its limit */
#define PORT		0x300	/* io_user has it as well */
#define VECTOR_END	0x80
#define NR_FAULTS	6

static volatile u64 faults, fault_at[NR_FAULTS + 1];

asm(".pushsection .rodata\n"
    "io_user:\n"
    "	mov $0x300, %edx\n"
    "	outb %al, %dx\n"
    "	inb %dx, %al\n"
    "	outsb\n"
    "	insb\n"
    "	mov $0x301, %edx\n"
    "io_faults:\n"
    "	outb %al, %dx\n"
    "	outsb\n"
    "	insb\n"
    "	mov $0x300, %edx\n"
    "	outw %ax, %dx\n"
    "	outsw\n"
    "	mov $0x1000, %edx\n"
    "	inb %dx, %al\n"
    "	int $0x80\n"
    "io_user_end:\n"
    ".popsection");
extern const u8 io_user[], io_faults[], io_user_end[];

/*
 * The handler goes on behind the instruction, which is one byte, or two with the prefix of its
 * size.
 */
static void on_gp(struct guest_frame *f)
{
	GUEST_ASSERT_EQ(f->error, 0);
	if (faults < NR_FAULTS)
		fault_at[faults] = f->rip;
	faults++;
	f->rip += *(u8 *)f->rip == 0x66 ? 2 : 1;
}

static void on_end(struct guest_frame *f)
{
	/* In io_faults: outb, outsb, insb; MOV; outw, outsw; MOV; inb */
	static const u8 at[NR_FAULTS] = { 0, 1, 2, 8, 10, 17 };
	u64 first = USER_CODE + (io_faults - io_user);
	u32 i;

	(void)f;
	GUEST_ASSERT_EQ(faults, NR_FAULTS);
	for (i = 0; i < NR_FAULTS; i++)
		GUEST_ASSERT_EQ(fault_at[i] - first, at[i]);
	guest_done();
}

/* @ltr: load TR, else it stays as userspace has set it. */
static void guest_io(u64 ltr)
{
	volatile u64 *gdt = (u64 *)GPA_GDT;

	if (ltr) {
		gdt[SEL_TSS / 8] = 0x0000890000000000ull | TSS_LIMIT | GPA_TSS << 16;
		asm volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
	}
	asm volatile("pushq $0x63; pushq %0; pushq $0x2; pushq $0x5b; pushq %1; iretq"
		     :
		     : "r"(USER_DATA + 0x800), "r"(USER_CODE), "S"(USER_DATA), "D"(USER_DATA)
		     : "memory");
}

static struct vm *io_vm(bool ltr)
{
	struct vm *vm = vm_create(1);
	u8 *tss = gpa_to_host(vm, GPA_TSS);
	u64 *idt = gpa_to_host(vm, GPA_IDT);
	struct kvm_sregs sregs;

	vcpu_set_long(vm->vcpu, guest_io, ltr);
	*guest_var(vm, &guest_handlers[GP_VECTOR]) = on_gp;
	*guest_var(vm, &guest_handlers[VECTOR_END]) = on_end;
	vm_user_segments(vm);
	idt[2 * VECTOR_END] |= 3ull << 45;
	*(u64 *)(tss + 4) = USER_DATA + 0xff0;
	*(u16 *)(tss + 0x66) = MAP;
	memset(tss + MAP, 0xff, TSS_LIMIT + 1 - MAP);
	tss[MAP + PORT / 8] = 0xfe;
	memcpy(gpa_to_host(vm, USER_CODE), io_user, io_user_end - io_user);
	vm_user_page(vm, USER_CODE, 0);
	vm_user_page(vm, USER_DATA, PTE_W);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.tr.limit = TSS_LIMIT;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
	return vm;
}

static void run(struct vm *vm)
{
	struct kvm_run *run = vm->vcpu->run;
	static const bool in[] = { false, true, false, true };
	unsigned int i;

	for (i = 0; i < 4; i++) {
		RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
		CHECK_EQ(run->io.port, PORT);
		CHECK_EQ(run->io.size, 1);
		CHECK_EQ(run->io.direction, in[i] ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT);
	}
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST(loaded_by_the_guest)
{
	run(io_vm(true));
}

TEST(loaded_by_userspace)
{
	if (host_is_tcg())
		tap_skip("TCG looks at the I/O permission map only if TR has a TSS that is not busy, and KVM_SET_SREGS makes it busy");
	run(io_vm(false));
}
