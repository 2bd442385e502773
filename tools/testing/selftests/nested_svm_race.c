// SPDX-License-Identifier: GPL-2.0
/*
 * What: two vCPUs run an L2 each on the same nested page tables and write to the same pages, while
 * the host takes pages away and write-protects them, logs dirty pages on and off, removes the slot
 * and moves it. NESTED_RACE_SECONDS (4).
 * Conditions: guests are offered SVM with nested paging.
 * Expected: every L2 finds in each page what it wrote there last; where there is no slot the access
 * reaches userspace, which does it; the pages that were written are in the dirty log.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "npt.h"
#include "state.h"

#define PAGES		64
#define RACE_GPA	0x20000000ull
#define OTHER_GPA	0x28000000ull
#define RACE_SIZE	(PAGES * 4096ull)

static struct npt npt;
static struct svm_vmcb block[2];
static u8 host_area[2][4096] __attribute__((aligned(4096)));
static u8 l2_stack[2][4096] __attribute__((aligned(16)));
static volatile u64 ready, stop, turns[2];

static void l2_main(void)
{
	u64 id = this_cpu()->id, turn = turns[id], i;

	for (i = 0; i < PAGES; i++) {
		volatile u64 *word = (u64 *)(NPT_PLAY + i * 4096) + id;

		GUEST_ASSERT_EQ(*word, turn);
		*word = turn + 1;
	}
	vmmcall();
}

static void enter(struct svm_vmcb *b)
{
	asm volatile("push %%rbp; vmrun %%rax; pop %%rbp"
		     :
		     : "a"(b)
		     : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
		       "r14", "r15", "memory", "cc");
}

static void prepare(void)
{
	u64 i;

	npt_guest_init(&npt, NPT_4LEVEL);
	for (i = 0; i < PAGES; i++)
		npt_set(&npt, NPT_PLAY + i * 4096, 1, (RACE_GPA + i * 4096) | NPT_RWX);
	for (i = 0; i < 2; i++) {
		block[i] = svm_vmcb;
		block[i].asid = 1 + i;
	}
	guest_set_flag(&ready);
}

static void guest_main(void)
{
	u64 id = this_cpu()->id;

	guest_sti();
	if (!id)
		prepare();
	guest_wait_flag(&ready);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, (u64)host_area[id]);
	/* L2 from its beginning each time: its general registers are nobody's. */
	for (; !stop; turns[id]++) {
		block[id].rip = (u64)l2_main;
		block[id].rsp = (u64)l2_stack[id] + sizeof(l2_stack[id]) - 8;
		enter(&block[id]);
		GUEST_ASSERT_EQ(block[id].exit_code, SVM_EXIT_VMMCALL);
	}
	svm_stgi();
	guest_done();
}

/* ---- the host ---- */

/*
 * The slot's memory, and the same for those who serve accesses while it has none: nothing is done
 * to that mapping.
 */
static u8 *memory, *served;
static volatile bool over;

static void serve(struct kvm_run *run)
{
	u64 at = run->mmio.phys_addr - RACE_GPA;

	REQUIRE(at + run->mmio.len <= RACE_SIZE);
	if (run->mmio.is_write)
		memcpy(served + at, run->mmio.data, run->mmio.len);
	else
		memcpy(run->mmio.data, served + at, run->mmio.len);
}

static void *run_vcpu(void *arg)
{
	struct vcpu *vcpu = arg;
	enum run_end end;
	int r;

	for (;;) {
		r = vcpu_run_raw(vcpu);
		/* A write while the host has the page protected */
		if (r == -EFAULT || r == -EINTR || r == -EAGAIN)
			continue;
		if (!r && vcpu->run->exit_reason == KVM_EXIT_MMIO) {
			serve(vcpu->run);
			continue;
		}
		break;
	}
	end = !r && vcpu->run->exit_reason == KVM_EXIT_IO && vcpu->run->io.port == PORT_DONE ? RUN_DONE : RUN_OTHER;
	if (end != RUN_DONE) {
		const struct guest_cpu *cpu = vcpu_report(vcpu);

		tap_fail(__FILE__, __LINE__,
			 "vCPU %u: %d, exit %u, port %#x; got %#llx, expected %#llx", vcpu->id, r,
			 vcpu->run->exit_reason, vcpu->run->io.port, (unsigned long long)cpu->got,
			 (unsigned long long)cpu->want);
		over = true;
	}
	return NULL;
}

static void slot(struct vm *vm, u32 flags, u64 gpa, u64 size)
{
	REQUIRE_EQ(vm_set_slot(vm, 1, flags, gpa, size, memory), 0);
}

static u64 dirty(struct vm *vm)
{
	u64 bitmap = 0;
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = &bitmap };

	xioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	return bitmap;
}

static u64 disturb(struct vm *vm, u64 seed)
{
	u64 page = seed >> 8 & (PAGES - 1), n = 1 + (seed >> 16 & 15), bits;

	if (page + n > PAGES)
		n = PAGES - page;
	switch (seed & 7) {
	case 0:
	case 1:
		REQUIRE(!madvise(memory + page * 4096, n * 4096, MADV_DONTNEED));
		return 0;
	case 2:
		REQUIRE(!mprotect(memory + page * 4096, n * 4096, PROT_READ));
		REQUIRE(!mprotect(memory + page * 4096, n * 4096, PROT_READ | PROT_WRITE));
		return 0;
	case 3:
	case 4:
		slot(vm, KVM_MEM_LOG_DIRTY_PAGES, RACE_GPA, RACE_SIZE);
		usleep(3000);
		bits = dirty(vm);
		usleep(3000);
		bits |= dirty(vm);
		slot(vm, 0, RACE_GPA, RACE_SIZE);
		return bits;
	case 5:
		slot(vm, 0, RACE_GPA, 0);
		slot(vm, 0, RACE_GPA, RACE_SIZE);
		return 0;
	case 6:
		slot(vm, 0, OTHER_GPA, RACE_SIZE);
		slot(vm, 0, RACE_GPA, RACE_SIZE);
		return 0;
	default:
		usleep(1000);
		return 0;
	}
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

TEST_TIMEOUT(two_l2_and_the_host, 100000)
{
	u64 seed = 88172645463325252ull, until, bits = 0, n = 0;
	int fd = memfd_create("race", 0);
	pthread_t thread[2];
	struct vm *vm;
	unsigned int i;

	need_npt();
	vm = vm_create(2);
	REQUIRE(!ftruncate(fd, RACE_SIZE));
	memory = mmap(NULL, RACE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	served = mmap(NULL, RACE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(memory != MAP_FAILED && served != MAP_FAILED);
	slot(vm, 0, RACE_GPA, RACE_SIZE);
	for (i = 0; i < 2; i++)
		vcpu_set_long(&vm->vcpu[i], guest_main, 0);
	for (i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, run_vcpu, &vm->vcpu[i]);
	until = now_ms() + 1000 * env_number("NESTED_RACE_SECONDS", 4);
	for (; now_ms() < until && !over; n++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		bits |= disturb(vm, seed >> 20);
	}
	*guest_var(vm, &stop) = 1;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	tap_note("%llu disturbances, %llu and %llu turns", (unsigned long long)n,
		 (unsigned long long)*guest_var(vm, &turns[0]),
		 (unsigned long long)*guest_var(vm, &turns[1]));
	CHECK(n > 20);
	CHECK(*guest_var(vm, &turns[0]) > 10 && *guest_var(vm, &turns[1]) > 10);
	CHECK_EQ(bits, ~0ull);
	vm_destroy(vm);
}
