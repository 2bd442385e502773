// SPDX-License-Identifier: GPL-2.0
/*
 * What: instructions on device memory that fault, on the page that they cross into or between the
 * iterations of a string, and those that are beyond the emulator.
 * Conditions: long mode; STRATA_ONLY what the in-tree module does in other steps.
 * Expected: a fault comes before anything else happens: no access to the device, no byte of memory,
 * no register, but the iterations that are done; the error code and CR2 are the CPU's. What cannot
 * be emulated is KVM_EXIT_INTERNAL_ERROR with the instruction's bytes, before which nothing has
 * been done.
 */
#include <string.h>

#include "cpu.h"
#include "emulator.h"

#define DEVICE	0x20000000ull
#define ABSENT	(DEVICE + 0x1000)	/* not present */
#define ROM	(DEVICE + 0x2000)	/* a device, too, and not writable for the guest */
#define RAM	(DEVICE + 0x3000)	/* GPA_HEAP */
#define RAM_END	(RAM + 0x1000)		/* not present */
#define RAM_ROM	(DEVICE + 0x6000)	/* GPA_HEAP + 0x1000, and behind it a device that is not writable */

static volatile bool no_cr2;	/* Bochs' VMRUN does not load it. */

#define FAULTS(insn, error_code, address, ...)					\
	do {									\
		asm volatile(TRY_HEAD insn TRY_TAIL : : __VA_ARGS__ : "rax", "rdx", "r8", "memory", "cc"); \
		GUEST_ASSERT_EQ(this_cpu()->vector, PF_VECTOR);			\
		GUEST_ASSERT_EQ(this_cpu()->error, error_code);			\
		if (!no_cr2)							\
			GUEST_ASSERT_EQ(this_cpu()->cr2, address);		\
	} while (0)

static void map_pages(struct vm *vm)
{
	vm_map_page(vm, DEVICE, DEVICE, PTE_P | PTE_W);
	*vm_pte(vm, ABSENT, 1) = 0;
	vm_map_page(vm, ROM, ROM, PTE_P);
	vm_map_page(vm, RAM, GPA_HEAP, PTE_P | PTE_W);
	*vm_pte(vm, RAM_END, 1) = 0;
	vm_map_page(vm, RAM_ROM, GPA_HEAP + 0x1000, PTE_P | PTE_W);
	vm_map_page(vm, RAM_ROM + 0x1000, ROM, PTE_P);
}

static void guest_crosses(void)
{
	write_cr0(read_cr0() | 1 << 16);	/* WP */
	FAULTS("movl $0x11223344, (%0)", PF_WRITE, ABSENT, "r"(ABSENT - 2));
	FAULTS("movl (%0), %%eax", 0, ABSENT, "r"(ABSENT - 3));
	FAULTS("addq $1, (%0)", PF_WRITE, ABSENT, "r"(ABSENT - 4));
	/* The first byte that cannot be written is the first one. */
	FAULTS("addl $1, (%0)", PF_WRITE | PF_PROT, ROM + 8, "r"(ROM + 8));
	FAULTS("lock incl (%0)", PF_WRITE | PF_PROT, ROM + 8, "r"(ROM + 8));
	FAULTS("xchgl %%eax, (%0)", PF_WRITE | PF_PROT, ROM + 8, "r"(ROM + 8));
	/* Memory, then a device that is read only: no byte of the memory changes. */
	FAULTS("movq %%r9, (%0)", PF_WRITE | PF_PROT, RAM_ROM + 0x1000, "r"(RAM_ROM + 0xffc));
	guest_done();
}

/* Not one exit to userspace on the way */
TEST(second_page)
{
	struct vm *vm = vm_create(1);
	u8 *ram;

	STRATA_ONLY("the in-tree module writes the first page");
	ram = gpa_to_host(vm, GPA_HEAP + 0x1000);
	memset(ram, 0xcc, 0x1000);
	vcpu_set_long(vm->vcpu, guest_crosses, 0);
	map_pages(vm);
	*guest_var(vm, &no_cr2) = host_is_bochs_svm();
	RUN_UNTIL_DONE(vm->vcpu);
	CHECK_EQ(*(u32 *)(ram + 0xffc), 0xcccccccc);
	vm_destroy(vm);
}

/*
 * From the device to memory, whose page ends after three of them; then the other way, where the
 * source ends.
 */
static void guest_strings(void)
{
	u64 src = DEVICE, dst = RAM_END - 6, n = 8;

	asm volatile(TRY_HEAD "rep movsw" TRY_TAIL : "+S"(src), "+D"(dst), "+c"(n) : : "rax", "rdx", "r8", "memory");
	GUEST_ASSERT_EQ(this_cpu()->vector, PF_VECTOR);
	GUEST_ASSERT_EQ(this_cpu()->error, PF_WRITE);
	GUEST_ASSERT_EQ(src, DEVICE + 6);
	GUEST_ASSERT_EQ(dst, RAM_END);
	GUEST_ASSERT_EQ(n, 5);
	src = RAM_END - 4;
	dst = DEVICE + 0x100;
	n = 8;
	asm volatile(TRY_HEAD "rep movsw" TRY_TAIL : "+S"(src), "+D"(dst), "+c"(n) : : "rax", "rdx", "r8", "memory");
	GUEST_ASSERT_EQ(this_cpu()->vector, PF_VECTOR);
	GUEST_ASSERT_EQ(this_cpu()->error, 0);
	GUEST_ASSERT_EQ(src, RAM_END);
	GUEST_ASSERT_EQ(dst, DEVICE + 0x104);
	GUEST_ASSERT_EQ(n, 6);
	guest_done();
}

static void expect_access(struct vcpu *vcpu, u64 gpa, bool write, u16 value)
{
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.phys_addr, gpa);
	CHECK_EQ(vcpu->run->mmio.len, 2);
	CHECK_EQ(vcpu->run->mmio.is_write, write);
	if (write)
		CHECK_EQ(*(u16 *)vcpu->run->mmio.data, value);
	else
		memcpy(vcpu->run->mmio.data, &value, 2);
}

TEST(strings)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u16 *end = (u16 *)((u8 *)gpa_to_host(vm, GPA_HEAP) + 0x1000);
	enum run_end over;
	int i;

	vcpu_set_long(vcpu, guest_strings, 0);
	map_pages(vm);
	for (i = 0; i < 3; i++)
		expect_access(vcpu, DEVICE + 2 * i, false, 0x1111 * (i + 1));
	/* A source may be read before the destination turns out to be absent. */
	over = vcpu_run(vcpu);
	if (over == RUN_OTHER && !vcpu->run->mmio.is_write) {
		CHECK_EQ(vcpu->run->mmio.phys_addr, DEVICE + 6);
		over = vcpu_run(vcpu);
	}
	for (i = 0; i < 3; i++)
		CHECK_EQ(end[i - 3], 0x1111 * (i + 1));
	REQUIRE(over == RUN_OTHER);
	CHECK_EQ(vcpu->run->mmio.phys_addr, DEVICE + 0x100);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	CHECK_EQ(*(u16 *)vcpu->run->mmio.data, 0x2222);
	expect_access(vcpu, DEVICE + 0x102, true, 0x3333);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

#define BEYOND(name, insn)							\
	asm(".pushsection .text\n"						\
	    #name ":	" insn "\n"						\
	    #name "_end:\n"							\
	    "	ret\n"								\
	    ".popsection");							\
	extern const u8 name[], name##_end[]

BEYOND(beyond_x87, "fldl (%rbx)");
BEYOND(beyond_fxsave, "fxsave (%rbx)");
BEYOND(beyond_mxcsr, "ldmxcsr 4(%rbx)");
BEYOND(beyond_addps, "addps 0x10(%rbx), %xmm3");
BEYOND(beyond_prefixes, "fxsave64 %fs:0x12345(%rbx,%r9,1)");
BEYOND(beyond_crc32, "crc32b (%rbx), %eax");

static const struct { const char *name; const u8 *start, *end; } beyond[] = {
	{ "FLD", beyond_x87, beyond_x87_end },
	{ "FXSAVE", beyond_fxsave, beyond_fxsave_end },
	{ "LDMXCSR", beyond_mxcsr, beyond_mxcsr_end },
	{ "ADDPS", beyond_addps, beyond_addps_end },
	{ "FXSAVE with prefixes", beyond_prefixes, beyond_prefixes_end },
	{ "CRC32", beyond_crc32, beyond_crc32_end },
};

static void guest_beyond(u64 fn)
{
	u64 rax = 0x1234;

	asm volatile("mov $0xb, %%r9d; call *%1" : "+a"(rax) : "r"(fn), "b"(DEVICE) : "r9", "rcx", "rdx", "memory", "cc");
	GUEST_ASSERT_EQ(rax, 0x1234);
	guest_done();
}

static void expect_bytes(struct vcpu *vcpu, const char *name, const u8 *start, u64 size)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;

	RUN_UNTIL(vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(run->emulation_failure.suberror, KVM_INTERNAL_ERROR_EMULATION);
	CHECK(run->emulation_failure.ndata >= 4);
	CHECK(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
	CHECK(run->emulation_failure.insn_size >= size && run->emulation_failure.insn_size <= 15);
	if (memcmp(run->emulation_failure.insn_bytes, start, size))
		tap_fail(__FILE__, __LINE__, "%s: other bytes", name);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ(regs.rip, (u64)start);
}

/* The second time it is the same; then userspace steps over it, and the guest goes on. */
TEST(beyond_the_emulator)
{
	struct kvm_regs before, after;
	unsigned int i;
	struct vm *vm;

	for (i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		u64 size = beyond[i].end - beyond[i].start;

		vm = vm_create(1);
		vcpu_set_long(vm->vcpu, guest_beyond, (u64)beyond[i].start);
		expect_bytes(vm->vcpu, beyond[i].name, beyond[i].start, size);
		xioctl(vm->vcpu->fd, KVM_GET_REGS, &before);
		expect_bytes(vm->vcpu, beyond[i].name, beyond[i].start, size);
		xioctl(vm->vcpu->fd, KVM_GET_REGS, &after);
		CHECK(!memcmp(&before, &after, sizeof(after)));
		after.rip += size;
		xioctl(vm->vcpu->fd, KVM_SET_REGS, &after);
		RUN_UNTIL_DONE(vm->vcpu);
		vm_destroy(vm);
	}
}
