// SPDX-License-Identifier: GPL-2.0
/*
 * What: host memory that changes under a guest: dropped, unmapped and mapped anew, moved, copied on
 * write by fork, paged out, a file's page truncated and written, made read-only, shared with the
 * device memory of a PFN mapping; two vCPUs hammering while a third thread invalidates.
 * Conditions: paging out needs swap (skipped without).
 * Expected: the guest reads what the host reads at that address, at once, and its writes are never
 * lost or seen through an old mapping.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"

#define GPA	0x10000000ull
#define SIZE	(4ull << 20)

/* Served by guest_peek(): the address and, for a write, the value. */
static volatile u64 peek_gva, poke, poke_value;

static void guest_peek(void)
{
	for (;;) {
		if (poke)
			*(volatile u64 *)peek_gva = poke_value;
		guest_sync(*(volatile u64 *)peek_gva);
	}
}

static struct vm *mapped_vm(void *mem, u32 flags)
{
	struct vm *vm = vm_create(1);

	REQUIRE_EQ(vm_set_slot(vm, 1, flags, GPA, SIZE, mem), 0);
	vcpu_set_long(vm->vcpu, guest_peek, 0);
	return vm;
}

static u64 guest_read(struct vm *vm, u64 off)
{
	*guest_var(vm, &poke) = 0;
	*guest_var(vm, &peek_gva) = GPA + off;
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	return vcpu_sync_value(vm->vcpu);
}

static void guest_write(struct vm *vm, u64 off, u64 value)
{
	*guest_var(vm, &poke) = 1;
	*guest_var(vm, &poke_value) = value;
	*guest_var(vm, &peek_gva) = GPA + off;
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	CHECK_EQ(vcpu_sync_value(vm->vcpu), value);
}

TEST(dontneed)
{
	u64 *mem = host_alloc(SIZE, SIZE);
	struct vm *vm = mapped_vm(mem, 0);
	int i;

	for (i = 0; i < 4; i++) {
		mem[0] = 0x100 + i;
		mem[1 << 17] = 0x200 + i;
		CHECK_EQ(guest_read(vm, 0), 0x100 + i);
		guest_write(vm, 1 << 20, 0x300 + i);
		CHECK_EQ(mem[1 << 17], 0x300 + i);
		REQUIRE(!madvise(mem, SIZE, MADV_DONTNEED));
		CHECK_EQ(guest_read(vm, 0), 0);
		CHECK_EQ(guest_read(vm, 1 << 20), 0);
	}
	vm_destroy(vm);
}

TEST(map_over_and_move)
{
	u64 *mem = host_alloc(SIZE, SIZE), *other = host_alloc(SIZE, SIZE);
	struct vm *vm = mapped_vm(mem, 0);

	mem[0] = 1;
	CHECK_EQ(guest_read(vm, 0), 1);
	REQUIRE(!munmap(mem, SIZE));
	REQUIRE(mmap(mem, SIZE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0) == mem);
	mem[0] = 2;
	CHECK_EQ(guest_read(vm, 0), 2);
	/* Other pages move to the slot's address, the slot's own are gone. */
	other[0] = 3;
	other[512] = 4;
	REQUIRE(mremap(other, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, mem) == mem);
	CHECK_EQ(guest_read(vm, 0), 3);
	CHECK_EQ(guest_read(vm, 4096), 4);
	guest_write(vm, 8, 5);
	CHECK_EQ(mem[1], 5);
	vm_destroy(vm);
}

/* No mapping behind the slot: the run fails with -EFAULT, and goes on once there is one. */
TEST(hole)
{
	u64 *mem = host_alloc(SIZE, SIZE);
	struct vm *vm = mapped_vm(mem, 0);

	CHECK_EQ(guest_read(vm, 0), 0);
	REQUIRE(!munmap(mem, SIZE));
	CHECK_EQ(vcpu_run_raw(vm->vcpu), -14 /* EFAULT */);
	REQUIRE(mmap(mem, SIZE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0) == mem);
	mem[0] = 6;
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	CHECK_EQ(vcpu_sync_value(vm->vcpu), 6);
	vm_destroy(vm);
}

/* A child keeps the old page: a write must break the sharing, and the guest must see it. */
TEST(fork_cow)
{
	u64 *mem = host_alloc(SIZE, SIZE);
	struct vm *vm = mapped_vm(mem, 0);
	int to_child[2], status, i;
	char c;
	pid_t pid;

	REQUIRE(!pipe(to_child));
	for (i = 0; i < 16; i++)
		guest_write(vm, i * 4096, 10 + i);
	pid = fork();
	if (!pid) {
		status = read(to_child[0], &c, 1) != 1;
		for (i = 0; i < 16; i++)
			status |= mem[i * 512] != 10u + i;
		_exit(status);
	}
	/*
	 * The guest breaks the sharing of half of them, the host that of the others, which the
	 * guest has looked at before.
	 */
	for (i = 0; i < 16; i++) {
		CHECK_EQ(guest_read(vm, i * 4096), 10 + i);
		if (i & 1)
			mem[i * 512] = 100 + i;
		else
			guest_write(vm, i * 4096, 100 + i);
	}
	for (i = 0; i < 16; i++) {
		CHECK_EQ(mem[i * 512], 100 + i);
		CHECK_EQ(guest_read(vm, i * 4096), 100 + i);
	}
	REQUIRE(write(to_child[1], "x", 1) == 1);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	vm_destroy(vm);
}

TEST(file_mapping)
{
	char name[] = "/tmp/strata-XXXXXX";
	int fd = mkstemp(name);
	u64 *mem, value = 0x77;
	struct vm *vm;

	REQUIRE(fd >= 0);
	unlink(name);
	REQUIRE(!ftruncate(fd, SIZE));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(mem != MAP_FAILED);
	vm = mapped_vm(mem, 0);
	CHECK_EQ(pwrite(fd, &value, 8, 4096), 8);
	CHECK_EQ(guest_read(vm, 4096), 0x77);
	guest_write(vm, 8192, 0x88);
	CHECK_EQ(pread(fd, &value, 8, 8192), 8);
	CHECK_EQ(value, 0x88);
	*guest_var(vm, &poke) = 0;
	REQUIRE(!ftruncate(fd, 4096));
	CHECK_EQ(vcpu_run_raw(vm->vcpu), -14 /* EFAULT: beyond the file's end */);
	REQUIRE(!ftruncate(fd, SIZE));
	CHECK_EQ(guest_read(vm, 8192), 0);
	vm_destroy(vm);
}

/* A private file mapping without a write so far shows the file; a guest's write makes a copy. */
TEST(private_file)
{
	char name[] = "/tmp/strata-XXXXXX";
	int fd = mkstemp(name);
	u64 *mem, value = 0x55;
	struct vm *vm;

	REQUIRE(fd >= 0);
	unlink(name);
	REQUIRE(!ftruncate(fd, SIZE));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	REQUIRE(mem != MAP_FAILED);
	vm = mapped_vm(mem, 0);
	CHECK_EQ(guest_read(vm, 0), 0);
	CHECK_EQ(pwrite(fd, &value, 8, 0), 8);
	CHECK_EQ(guest_read(vm, 0), 0x55);
	guest_write(vm, 0, 0x66);
	CHECK_EQ(pread(fd, &value, 8, 0), 8);
	CHECK_EQ(value, 0x55);
	CHECK_EQ(mem[0], 0x66);
	vm_destroy(vm);
}

TEST(host_protection)
{
	u64 *mem = host_alloc(SIZE, SIZE);
	struct vm *vm = mapped_vm(mem, 0);

	guest_write(vm, 0, 1);
	REQUIRE(!mprotect(mem, SIZE, PROT_READ));
	CHECK_EQ(guest_read(vm, 0), 1);
	*guest_var(vm, &poke) = 1;
	*guest_var(vm, &poke_value) = 2;
	CHECK_EQ(vcpu_run_raw(vm->vcpu), -14 /* EFAULT */);
	CHECK_EQ(mem[0], 1);
	REQUIRE(!mprotect(mem, SIZE, PROT_READ | PROT_WRITE));
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	CHECK_EQ(mem[0], 2);
	vm_destroy(vm);
}

static unsigned long swapped_out_kib(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmSwap:", 7))
			kib = strtoul(line + 7, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

TEST(paged_out)
{
	u64 *mem = host_alloc(SIZE, SIZE);
	struct vm *vm;
	char line[256];
	bool swap = false;
	u64 i, round;
	FILE *f;

	f = fopen("/proc/swaps", "r");
	while (f && fgets(line, sizeof(line), f))
		swap |= line[0] == '/';
	if (!swap)
		tap_skip("no swap");
	vm = mapped_vm(mem, 0);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < SIZE; i += 64 << 10)
			guest_write(vm, i, i + round);
		REQUIRE(!madvise(mem, SIZE, 21 /* MADV_PAGEOUT */));
		CHECK(swapped_out_kib());
		for (i = 0; i < SIZE; i += 64 << 10)
			CHECK_EQ(guest_read(vm, i), i + round);
	}
	vm_destroy(vm);
}

static void check_seen(struct vm *vm, const u64 *mem)
{
	u64 off;

	for (off = 0; off < 0x10000; off += 0x1008)
		CHECK_EQ(guest_read(vm, off), mem[off / 8]);
}

/*
 * A mapping of device memory: the BIOS ROM area through /dev/mem has no struct page to pin. It is
 * replaced, taken away and put back meanwhile.
 */
TEST(pfn_mapping)
{
	int fd = open("/dev/mem", O_RDONLY | O_SYNC);
	struct vm *vm;
	u64 *mem, *ram;

	if (fd < 0)
		tap_skip("no /dev/mem");
	mem = mmap(NULL, 0x10000, PROT_READ, MAP_SHARED, fd, 0xf0000);
	if (mem == MAP_FAILED)
		tap_skip("/dev/mem does not map the BIOS area");
	vm = vm_create(1);
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_READONLY, GPA, 0x10000, mem), 0);
	vcpu_set_long(vm->vcpu, guest_peek, 0);
	check_seen(vm, mem);
	ram = mmap(mem, 0x10000, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	REQUIRE(ram == mem);
	ram[0] = 0x1234;
	check_seen(vm, ram);
	REQUIRE(mmap(mem, 0x10000, PROT_READ, MAP_FIXED | MAP_SHARED, fd, 0xe0000) == mem);
	check_seen(vm, mem);
	REQUIRE(!munmap(mem, 0x10000));
	CHECK_EQ(vcpu_run_raw(vm->vcpu), -14 /* EFAULT */);
	REQUIRE(mmap(mem, 0x10000, PROT_READ, MAP_FIXED | MAP_SHARED, fd, 0xf0000) == mem);
	REQUIRE(vcpu_run(vm->vcpu) == RUN_SYNC);
	check_seen(vm, mem);
	vm_destroy(vm);
}

static volatile u64 stop, rounds[2];

/* Each vCPU writes its own word of each page; the page may be zeroed behind it at any time. */
static void guest_hammer(u64 me)
{
	u64 gpa, seq, v;

	guest_sti();
	for (seq = 1; !stop; seq++) {
		for (gpa = GPA + 8 * me; gpa < GPA + SIZE; gpa += 0x8000) {
			*(volatile u64 *)gpa = seq << 8 | me;
			v = *(volatile u64 *)gpa;
			GUEST_ASSERT(!v || v == (seq << 8 | me));
		}
		rounds[me] = seq;
	}
	/* Once nothing invalidates any more, what is written stays. */
	for (gpa = GPA + 8 * me; gpa < GPA + SIZE; gpa += 0x8000)
		*(volatile u64 *)gpa = gpa;
	guest_done();
}

static void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

TEST_TIMEOUT(hammered_by_two, 120)
{
	struct vm *vm = vm_create(2);
	u8 *mem = host_alloc(SIZE, SIZE);
	pthread_t threads[2];
	u64 i, off;

	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, SIZE, mem), 0);
	for (i = 0; i < 2; i++) {
		vcpu_set_long(&vm->vcpu[i], guest_hammer, i);
		pthread_create(&threads[i], NULL, run_to_done, &vm->vcpu[i]);
	}
	for (i = 0; i < 400; i++) {
		madvise(mem + (i % 4) * (SIZE / 4), SIZE / 4, MADV_DONTNEED);
		if (i % 50 == 0)
			REQUIRE(mmap(mem, SIZE, PROT_READ | PROT_WRITE,
				     MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == mem);
		if (i % 20 == 0)
			usleep(1000);
	}
	*guest_var(vm, &stop) = 1;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (off = 0; off < SIZE; off += 0x8000) {
		CHECK_EQ(*(u64 *)(mem + off), GPA + off);
		CHECK_EQ(*(u64 *)(mem + off + 8), GPA + off + 8);
	}
	vm_destroy(vm);
}
